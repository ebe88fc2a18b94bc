# Shared by the one-shot programs that circusman runs on a stock node. They run under whatever Python
# runs the node's circusd (3.4 or newer), with its standard library only, and in no file of theirs.
#
# A program calls report() exactly once. Its last act is to become a sleep whose name is the result,
# because the first word of a process' command line is all that a stock circusd tells about it.

import base64, errno, json, os, stat, sys

try:
    PAYLOAD = json.loads(read("CIRCUSMAN_PAYLOAD").decode("utf-8"))
except NameError:
    PAYLOAD = None  # imported by a test

LIMIT = int(os.environ.get("CIRCUSMAN_LIMIT", "49152"))
SLEEP = os.environ.get("CIRCUSMAN_SLEEP", "60")
# As many links as Linux follows in one path.
MAX_LINKS = 40


class Refused(Exception):
    """Nothing was changed; the text says why, for a person."""

    def __init__(self, *problems):
        Exception.__init__(self, "; ".join(problems))
        self.problems = list(problems)


def reason(error):
    """The system's words without its number."""
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno).lower()
    return str(error) or type(error).__name__


def report(result):
    """Shows the result to the console, for a while, and never returns."""
    text = encode(result)
    argv = ["circusman:" + text, SLEEP]
    # Not found by PATH, which may be empty; where there is no sleep, a Python does it.
    for program in ("/bin/sleep", "/usr/bin/sleep"):
        try:
            os.execve(program, argv, {})
        except OSError:
            pass
    code = "import time,sys;time.sleep(float(sys.argv[-1]))"
    os.execve(sys.executable, [argv[0], "-c", code, SLEEP], {})


def encode(result):
    data = json.dumps(result, separators=(",", ":")).encode("utf-8")
    text = base64.urlsafe_b64encode(data).decode("ascii").rstrip("=")
    if len(text) <= LIMIT:
        return text
    return encode({"errors": ["the result has %d bytes, more than a stock node can tell" % len(data)]})


def fit(result, lists):
    """Shortens the lists, each with a count of what is missing, until the result can be told."""
    keep = max([len(l) for l in lists] + [1])
    full = [list(l) for l in lists]
    while True:
        data = json.dumps(result, separators=(",", ":"))
        if len(data) * 4 // 3 + 16 <= LIMIT or keep == 0:
            return result
        keep //= 2
        for short, whole in zip(lists, full):
            if len(whole) > keep:
                short[:] = whole[:keep]


def main(work):
    """Runs the program and reports whatever comes of it."""
    try:
        result = work(PAYLOAD)
    except Refused as refused:
        result = {"refused": True, "errors": refused.problems[:50]}
    except Exception as error:
        where = sys.exc_info()[2]
        while where.tb_next:
            where = where.tb_next
        result = {"errors": ["%s (line %d of the one-shot)" % (reason(error), where.tb_lineno)]}
    report(result)


# ---- walking a path on open directories, so that nobody can swap one for a link meanwhile ----------

class Found(object):
    """A name in an open directory: what it is, and its path without links."""

    def __init__(self, directory, name, real, status):
        self.directory, self.name, self.real, self.status = directory, name, real, status


def walk(path):
    """Finds what a path leads to; the last component need not exist.

    A link on the way is followed only if whoever made it gains nothing by it: it belongs to root, to
    us, or to the owner of what it leads to.
    """
    trail = [("/", os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))]
    ahead = [p for p in path.split("/") if p not in ("", ".")]
    doubtful, links = [], 0
    while ahead:
        name = ahead.pop(0)
        if name == "..":
            if len(trail) > 1:
                os.close(trail.pop()[1])
            continue
        here = join(trail)
        real = here.rstrip("/") + "/" + name
        try:
            status = os.stat(name, dir_fd=trail[-1][1], follow_symlinks=False)
        except FileNotFoundError:
            if ahead:
                raise Refused("%s does not exist" % real)
            found = Found(trail[-1][1], name, real, None)
            break
        if stat.S_ISLNK(status.st_mode):
            links += 1
            if links > MAX_LINKS:
                raise Refused("%s leads through more than %d links" % (path, MAX_LINKS))
            target = os.readlink(name, dir_fd=trail[-1][1])
            if status.st_uid not in (0, os.geteuid()):
                doubtful.append((real, status.st_uid))
            if target.startswith("/"):
                while len(trail) > 1:
                    os.close(trail.pop()[1])
            ahead[:0] = [p for p in target.split("/") if p not in ("", ".")]
            continue
        if not ahead:
            found = Found(trail[-1][1], name, real, status)
            break
        if not stat.S_ISDIR(status.st_mode):
            raise Refused("%s is not a directory" % real)
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        trail.append((name, os.open(name, flags, dir_fd=trail[-1][1])))
    else:
        # The path ended at a directory that is open already: a link led there.
        status = os.stat(trail[-1][1])
        found = Found(trail[-1][1], ".", join(trail), status)
    owner = found.status.st_uid if found.status else os.stat(found.directory).st_uid
    for link, maker in doubtful:
        if maker != owner:
            raise Refused("the link %s belongs to user %d, who does not own what it leads to" % (link, maker))
    return found


def join(trail):
    return "/" + "/".join(name for name, _ in trail[1:])
