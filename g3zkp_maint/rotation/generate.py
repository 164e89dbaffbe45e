"""New keys, made by the messenger in one of its instances.

All types are asked for at once: so there are all of them, or none. What the messenger keeps of a key (its private part,
in the data folder) does not pass through here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from g3zkp_maint.coordination.guard import Guard
from g3zkp_maint.errors import KeyGenerationFailed
from g3zkp_maint.platforms.base import Platform
from g3zkp_maint.rotation.entries import KeyType, NewKey
from g3zkp_maint.rotation.question import ask

# First the look at the mount: where the Secret is not to be seen, a key would be made for nothing.
_SCRIPT = """
const [configured, ...types] = args;
const folder = configured || process.env.G3ZKP_KEYS_DIR;
if (!folder) throw new Error('the Secret is not mounted: there is no G3ZKP_KEYS_DIR; set rotation.keys_path');
try {
  require('node:fs').readdirSync(folder);
} catch (error) {
  throw new Error(`the folder of the mounted Secret cannot be read: ${error.code}; see rotation.keys_path`);
}
const crypto = require('@g3zkp/crypto');
const keys = [];
for (const type of types) {
  const key = await crypto.generateKey(type);
  const publicKey = key.publicKey.toString('base64');
  keys.push({ type, publicKey, keyId: key.keyId, createdAt: new Date().toISOString() });
}
return keys;
"""


def generate(
    platform: Platform,
    types: Sequence[KeyType],
    *,
    in_use: Mapping[KeyType, str | None],
    keys_path: str,
    seconds: float,
    guard: Guard,
) -> tuple[NewKey, ...]:
    """A new key of each type. `in_use` are the ids of those that are to be replaced, `keys_path` where the Secret is
    mounted ('': as $G3ZKP_KEYS_DIR says), `seconds` the limit for all of it.

    Raises KeyGenerationFailed for anything but whole and new keys, and what `ask` raises.
    """
    what = f"making keys ({', '.join(types)})"
    answer = ask(
        platform,
        _SCRIPT,
        what=what,
        args=(keys_path, *types),
        guard=guard,
        seconds=seconds,
        failure=KeyGenerationFailed,
    )
    keys = _parsed(answer, what)
    if tuple(key.type for key in keys) != tuple(types):
        raise KeyGenerationFailed(f"{what}: the messenger answered with other types")
    old = [key.type for key in keys if key.keyId == in_use.get(key.type)]
    if old:
        raise KeyGenerationFailed(f"{what}: the messenger answered with the {old[0]} key that is in use already")
    if len({key.keyId for key in keys}) != len(keys):
        raise KeyGenerationFailed(f"{what}: two of the keys have the same id")
    return keys


def _parsed(answer: Any, what: str) -> tuple[NewKey, ...]:
    if not isinstance(answer, list):
        raise KeyGenerationFailed(f"{what}: the answer is no list of keys")
    try:
        return tuple(NewKey.model_validate(one) for one in answer)
    except ValidationError as error:
        # The field and the kind of fault; the value could be a key.
        faults = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['type']}" for item in error.errors())
    raise KeyGenerationFailed(f"{what}: the answer is malformed ({faults})")
