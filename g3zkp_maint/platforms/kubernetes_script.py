"""The shell around a command in a pod. It gives four things that Kubernetes does not:

- **An end of input that means all of it.** Before protocol v5 a client cannot end stdin, and in every version a connection
  that breaks ends it, so that a command takes a part for the whole. Here the input goes over in blocks, each after its
  length, and a last one of length 0; where that does not come, the command is killed before it sees an end.
- **An end of the command when nobody wants it any more.** The API server lets a command run on whose connection is closed.
  Here its process id comes first, on stderr, so that it can be killed, with its whole process group.
- **A word about input that is left over.** Runtimes hang at the end of a command that has not read all that was sent to it,
  and nobody tells that it has not. Here the rest is read for it, and the sender told that no more is wanted, and whether
  there was a rest: success with a part of the input is none. For a command that was killed nobody reads; so one that
  has been silent for a while is asked after, by its process id.
- **An end of output that means all of it.** A status of success may come for a command whose connection broke. Here its
  exit code comes once more, as the last of its output, and a success without it is none (kubernetes_ending).

Needs `sh` in the image, with `printf`, and `dd` for input: busybox has them.
"""

from __future__ import annotations

from g3zkp_maint.platforms.kubernetes_ending import SAY_ENDING

# The first argument marks what the shell says. A shell that is told to end stays until the command has: where the first
# process of a container does not bury the dead, nobody else would. `(exec …)` runs programs alone, not what a shell has in
# itself under their names.
PLAIN = (
    """mark=$1; shift
trap 'exec >/dev/null' TERM
echo "$mark $$" >&2
(exec "$@")
code=$? rest=all
"""
    + SAY_ENDING
)
# Each turn of the loop moves one block. What is killed where the input breaks off is the process group: runtimes give
# each exec its own. The end of the pipe is held open until what the command has left is known, and where all are told to
# end (TERM), until the command has: it may do something yet, and would take a part for the whole. So whoever feeds is
# deaf to TERM, and is told by USR2 once the command is over: no starter of servers ignores that, as nohup does HUP, and no
# dd answers it, as USR1. It goes to all, also to what a command that ended at once has started and not waited for.
FED = (
    """mark=$1; shift
trap '' TERM
trap : USR2
echo "$mark $$" >&2
kill -0 "-$$" 2>/dev/null || { echo "a command has no process group of its own here" >&2; exit 126; }
feed() {
  trap exit USR2
  while read -r count size; do
    [ "$count" = 0 ] && { echo "$mark fed" >&2; return; }
    dd bs="$size" count="$count" iflag=fullblock 2>/dev/null || break
  done
  kill -KILL "-$$"
}
feed | {
  told=
  trap told=1 TERM
  (trap - TERM; exec "$@")
  code=$?
  trap 'kill -USR2 "-$$"' TERM
  [ -z "$told" ] || kill -USR2 "-$$"
  echo "$mark over" >&2
  export LC_ALL=C
  case $(exec dd bs=64k of=/dev/null 2>&1) in 0+0*) rest=all ;; *) rest=left ;; esac
  trap - TERM
"""
    + SAY_ENDING
    + "\n}\n"
)
# Not by a signal: where the first process of a container does not bury the dead, their group is there for ever.
IS_ALIVE = """for stat in /proc/[0-9]*/stat; do
  read -r line <"$stat" || continue
  set -- ${line##*) }
  [ "$3" = "$0" ] && [ "$1" != Z ] && exit 0
done 2>/dev/null
exit 1
"""
KILL = """kill -TERM "-$0" 2>/dev/null || exit 0
for _ in 1 2 3 4 5 6 7 8 9 10; do kill -0 "-$0" 2>/dev/null || exit 0; sleep 0.1; done
kill -KILL "-$0" 2>/dev/null || exit 0
"""
