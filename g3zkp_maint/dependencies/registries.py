"""What registries offer: of images (OCI distribution spec 1.1), of npm and of Python packages (PEP 691, PEP 700).

Only reads, without credentials: an image registry may ask for a token, which it gives to anybody for what is public.
"""

from __future__ import annotations

import http.client
import json
import re
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

import httpx

from g3zkp_maint.dependencies.image import Image
from g3zkp_maint.errors import RegistryUnavailable

_PAGES = 100
_MOST_BYTES = 64 << 20
_MANIFESTS = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
_SIMPLE = "application/vnd.pypi.simple.v1+json"
_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')


class Registries:
    """`images` are API addresses by the host in an image's name ('' for images without one). Tags are asked for in pages of
    `page`."""

    def __init__(self, client: httpx.Client, images: dict[str, str], *, page: int = 1000) -> None:
        self._client = client
        self._page = page
        self._images = images

    def tags(self, image: Image) -> list[str]:
        """All of the image's name. Raises RegistryUnavailable."""
        url = f"{self._base(image)}/tags/list?n={self._page}"
        found: list[str] = []
        for _ in range(_PAGES):
            document, headers = self._get(url, image=image)
            found += map(str, document.get("tags") or ())
            following = httpx.Response(200, headers=headers).links.get("next", {}).get("url")
            if not following:
                return found
            url = _on_the_same_server(url, following)
        raise RegistryUnavailable(f"{image.shown} has more than {_PAGES} pages of tags; it is not compared")

    def digests(self, image: Image) -> frozenset[str]:
        """Those that the tag stands for now: its own, and of each platform. Raises RegistryUnavailable."""
        url = f"{self._base(image)}/manifests/{quote(image.tag)}"
        document, headers = self._get(url, image=image, accept=", ".join(_MANIFESTS))
        of_platforms = (str(one.get("digest", "")) for one in document.get("manifests") or ())
        return frozenset({headers.get("docker-content-digest", ""), *of_platforms}) - {""}

    def npm_latest(self, registry: str, name: str) -> str:
        """What npm would install of `name`. Raises RegistryUnavailable."""
        document, _ = self._get(f"{registry.rstrip('/')}/{quote(name, safe='@')}")
        return str((document.get("dist-tags") or {}).get("latest", ""))

    def python_versions(self, index: str, name: str) -> list[str]:
        """Raises RegistryUnavailable."""
        normal = re.sub(r"[-_.]+", "-", name).lower()
        document, _ = self._get(f"{index.rstrip('/')}/{quote(normal)}/", accept=_SIMPLE)
        return [str(one) for one in document.get("versions") or ()]

    # -- inside --------------------------------------------------------------------------------------------------------

    def _base(self, image: Image) -> str:
        base = self._images.get(image.registry) or (f"https://{image.registry}" if image.registry else "")
        if not base:
            raise RegistryUnavailable(
                f"{image.shown} names no registry, and dependencies.image_registries has no address for such images (key '')"
            )
        return f"{base.rstrip('/')}/v2/{quote(image.name)}"

    def _get(
        self, url: str, *, image: Image | None = None, accept: str = "application/json"
    ) -> tuple[dict[str, Any], httpx.Headers]:
        status, body, headers = self._asked(url, {"accept": accept})
        if status == http.client.UNAUTHORIZED and image is not None:
            token = self._token(headers, image)
            status, body, headers = self._asked(url, {"accept": accept, "authorization": f"Bearer {token}"})
        if status != http.client.OK:
            raise RegistryUnavailable(f"{_place(url)} answers {status}")
        try:
            document = json.loads(body)
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise RegistryUnavailable(f"{_place(url)} answers no JSON of a registry; is it one?")
        return document, headers

    def _asked(self, url: str, headers: dict[str, str]) -> tuple[int, bytes, httpx.Headers]:
        """No redirect is followed, and no answer is read past a bound: whoever answers may be anybody."""
        body = bytearray()
        try:
            with self._client.stream("GET", url, headers=headers, follow_redirects=False) as answer:
                for piece in answer.iter_bytes():
                    body += piece
                    if len(body) > _MOST_BYTES:
                        raise RegistryUnavailable(f"{_place(url)} answers more than {_MOST_BYTES >> 20} MiB")
                return answer.status_code, bytes(body), answer.headers
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:  # ValueError: a header that is none
            raise RegistryUnavailable(f"{_place(url)} is not reached ({type(error).__name__})") from error

    def _token(self, refused: httpx.Headers, image: Image) -> str:
        """As the distribution spec's token protocol has it, as nobody in particular."""
        challenge = dict(_CHALLENGE.findall(refused.get("www-authenticate", "")))
        realm = challenge.pop("realm", "")
        if urlsplit(realm).scheme != "https":
            raise RegistryUnavailable(f"the registry of {image.shown} wants a login that is none of the public ones")
        query = "&".join(f"{name}={quote(value, safe='')}" for name, value in challenge.items() if name != "error")
        document, _ = self._get(f"{realm}?{query}")
        return str(document.get("token") or document.get("access_token") or "")


def _on_the_same_server(url: str, following: str) -> str:
    found = urljoin(url, following)
    if urlsplit(found)[:2] != urlsplit(url)[:2]:
        raise RegistryUnavailable(f"{_place(url)} sends on to another server; it is not followed")
    return found


def _place(url: str) -> str:
    """Without what may be a credential."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}{parts.path}"
