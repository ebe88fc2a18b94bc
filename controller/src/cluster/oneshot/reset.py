# Moves a service's data (or logs) out of the way, in one instant, or brings it back. The same rules
# as a circusd-rs applies to its own reset: only below declared roots, never through a link, never
# across a mount, with a dry run that lists everything.
#
# Payload: {"tasks": [{"service", "kind", "root", "delete": [], "truncate": [], "keep": [],
#                      "require_dirs": [[]], "keep_seconds"}], "dry_run", "undo", "id"}
#
# What is moved lies in ROOT/.circus-reset/ID/ as numbered entries beside a manifest that says where
# each came from. What has had its time is freed by the next reset; there is no daemon of ours here
# that could do it earlier.

import time

ASIDE = ".circus-reset"
MANIFEST = "manifest.json"
DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

# Directories that are shared or the system's own; a link may lead to one although the root as
# written does not say so, which is why this is looked at again here.
SHARED = ("/", "/dev/shm", "/home", "/media", "/mnt", "/opt", "/root", "/run", "/srv", "/tmp", "/Users",
          "/usr/local", "/var", "/var/cache", "/var/db", "/var/lib", "/var/lock", "/var/log", "/var/opt",
          "/var/run", "/var/spool", "/var/tmp")
SYSTEM = ("/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/libx32", "/proc", "/sbin", "/sys",
          "/usr")


def check_root(real):
    inside = [s for s in SYSTEM if real == s or real.startswith(s + "/")]
    if inside and not real.startswith(("/dev/shm/", "/usr/local/")):
        raise Refused("%s is, or is part of, the system's own directories" % real)
    if real in SHARED or (real.startswith("/home/") and real.count("/") == 2):
        raise Refused("%s is shared; a root must be a service's own directory" % real)


# ---- patterns: as a shell's, on bytes; never across a slash, a leading dot must be written out -----

def part_matches(pattern, name):
    if name[:1] == b"." and pattern[:1] != b".":
        return False
    p = n = 0
    retry = None
    while True:
        if pattern[p:p + 1] == b"*":
            p += 1
            retry = (p, n)
            continue
        step = one(pattern, p, name, n)
        if step is not None:
            p, n = step, n + 1
            continue
        if p == len(pattern) and n == len(name):
            return True
        if retry is None or retry[1] >= len(name):
            return False
        retry = (retry[0], retry[1] + 1)
        p, n = retry


def one(pattern, p, name, n):
    """Where the pattern goes on when its next element is for this byte and agrees; else None."""
    if p >= len(pattern) or n >= len(name):
        return None
    first, byte = pattern[p:p + 1], name[n:n + 1]
    if first == b"*":
        return None
    if first == b"?":
        return p + 1
    if first == b"[":
        end = klass(pattern, p + 1)
        if end is not None:
            return end + 1 if in_class(pattern[p + 1:end], byte) else None
    return p + 1 if first == byte else None


def klass(pattern, start):
    """Where the class that begins here ends; a `]` that comes first is a member."""
    at = start
    if pattern[at:at + 1] in (b"!", b"^"):
        at += 1
    end = pattern.find(b"]", at + 1)
    return end if end >= 0 else None


def in_class(members, byte):
    negated = members[:1] in (b"!", b"^")
    if negated:
        members = members[1:]
    found, at = False, 0
    while at < len(members):
        if members[at + 1:at + 2] == b"-" and at + 2 < len(members):
            found |= members[at:at + 1] <= byte <= members[at + 2:at + 3]
            at += 3
        else:
            found |= members[at:at + 1] == byte
            at += 1
    return found != negated


class Glob(object):
    def __init__(self, text):
        self.parts = [p.encode("utf-8") for p in text.split("/") if p]

    def agrees(self, path):
        return all(part_matches(p, n) for p, n in zip(self.parts, path))

    def matches(self, path):
        return len(self.parts) == len(path) and self.agrees(path)

    def may_match_below(self, path):
        return len(self.parts) > len(path) and self.agrees(path)


class Rule(object):
    def __init__(self, task):
        self.delete = [Glob(g) for g in task["delete"]]
        self.truncate = [Glob(g) for g in task["truncate"]]
        self.keep = [Glob(g) for g in task["keep"]]

    def verdict(self, path):
        """delete, around, truncate, keep, descend or leave; path is the components below the root."""
        if path[0] == ASIDE.encode("ascii"):
            return "leave"
        # A pattern for a directory is also one for everything below it.
        prefixes = [path[:n] for n in range(1, len(path) + 1)]
        if any(g.matches(p) for p in prefixes for g in self.keep):
            return "keep"
        if any(g.matches(p) for p in prefixes for g in self.delete):
            return "around" if any(g.may_match_below(path) for g in self.keep) else "delete"
        if any(g.matches(path) for g in self.truncate):
            return "truncate"
        below = any(g.may_match_below(path) for g in self.delete + self.truncate)
        return "descend" if below else "leave"


# ---- looking ---------------------------------------------------------------------------------------

def mounts():
    """Every mount point; a bind mount has the same device number as what it hides."""
    points = set()
    try:
        with open("/proc/self/mountinfo", "rb") as f:
            for line in f:
                field = line.split()[4]
                for code in (b"\\040", b"\\011", b"\\012", b"\\134"):
                    field = field.replace(code, bytes(bytearray([int(code[1:], 8)])))
                points.add(field)
    except (IOError, OSError, IndexError):
        pass
    return points


class Root(object):
    """One rule's directory, open, and what is to happen below it."""

    def __init__(self, task, mount_points):
        self.task, self.rule, self.mount_points = task, Rule(task), mount_points
        self.moves, self.truncates, self.kept = [], [], []
        self.fd = None
        found = walk(task["root"])
        if found.status is None:
            return
        if not stat.S_ISDIR(found.status.st_mode):
            raise Refused("%s is not a directory" % task["root"])
        check_root(found.real)
        self.real = found.real.encode("utf-8", "surrogateescape")
        self.fd = os.open(found.name, DIRECTORY, dir_fd=found.directory)
        self.device = os.fstat(self.fd).st_dev

    def shown(self, path):
        return (self.task["root"].rstrip("/") + "/" + b"/".join(path).decode("utf-8", "replace"))

    def stays(self, path, why):
        self.kept.append({"path": self.shown(path), "reason": why})

    def is_mount(self, path, status):
        return status.st_dev != self.device or self.real + b"/" + b"/".join(path) in self.mount_points

    def plan(self):
        if self.fd is not None:
            self.look(self.fd, [])

    def look(self, fd, above):
        """What happens to each entry of a directory; whether all of them go."""
        all_go = True
        for name in sorted(os.listdir(fd)):
            raw = os.fsencode(name)
            path = above + [raw]
            try:
                status = os.stat(raw, dir_fd=fd, follow_symlinks=False)
            except FileNotFoundError:
                continue
            all_go &= self.judge(fd, raw, path, status)
        return all_go

    def judge(self, fd, raw, path, status):
        verdict = self.rule.verdict(path)
        is_directory = stat.S_ISDIR(status.st_mode)
        if verdict in ("leave", "keep"):
            if verdict == "keep":
                self.stays(path, "a keep pattern names it")
            return False
        if is_directory and self.is_mount(path, status):
            self.stays(path, "another file system is mounted there")
            return False
        if verdict == "truncate":
            if stat.S_ISREG(status.st_mode):
                self.truncates.append(self.item(path, status.st_size, 1, status.st_mtime, status))
            else:
                self.stays(path, "only a regular file can be emptied")
            return False
        if verdict == "descend":
            if is_directory:
                self.below(fd, raw, path)
            elif stat.S_ISLNK(status.st_mode):
                self.stays(path, "a link is not followed")
            return False
        if not is_directory:
            self.moves.append(self.item(path, status.st_size, 1, status.st_mtime, status))
            return True
        # A directory goes as a whole unless something below has to stay.
        before = (len(self.moves), len(self.truncates))
        if self.below(fd, raw, path):
            del self.moves[before[0]:], self.truncates[before[1]:]
            self.moves.append(self.item(path, *self.size(fd, raw, status), status=status))
            return True
        return False

    def below(self, fd, raw, path):
        inner = os.open(raw, DIRECTORY, dir_fd=fd)
        try:
            return self.look(inner, path)
        finally:
            os.close(inner)

    def item(self, path, size, entries, modified, status):
        return {"raw": path, "path": self.shown(path), "bytes": size, "entries": entries,
                "modified": modified, "status": status}

    def size(self, fd, raw, status):
        """Bytes, entries and newest change of a tree."""
        total, entries, newest = 0, 1, status.st_mtime
        inner = os.open(raw, DIRECTORY, dir_fd=fd)
        try:
            for name in os.listdir(inner):
                child = os.fsencode(name)
                st = os.stat(child, dir_fd=inner, follow_symlinks=False)
                if stat.S_ISDIR(st.st_mode):
                    b, e, m = self.size(inner, child, st)
                else:
                    b, e, m = st.st_size, 1, st.st_mtime
                total, entries, newest = total + b, entries + e, max(newest, m)
        finally:
            os.close(inner)
        return total, entries, newest

    def open_parent(self, path, make=False):
        """The directory that holds the last component, opened step by step."""
        fd = os.dup(self.fd)
        for name in path[:-1]:
            try:
                inner = os.open(name, DIRECTORY, dir_fd=fd)
            finally:
                os.close(fd)
            fd = inner
        return fd


# ---- acting ----------------------------------------------------------------------------------------

def open_aside(root, make):
    try:
        if make:
            os.mkdir(ASIDE, 0o700, dir_fd=root.fd)
    except FileExistsError:
        pass
    return os.open(ASIDE, DIRECTORY, dir_fd=root.fd)


def write_manifest(place, manifest):
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(MANIFEST, flags, 0o600, dir_fd=place), "w") as f:
        json.dump(manifest, f)
        f.flush()
        os.fsync(f.fileno())
    os.fsync(place)


def read_manifest(place):
    try:
        with os.fdopen(os.open(MANIFEST, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=place)) as f:
            return json.load(f)
    except (OSError, ValueError):
        return None


def text_of(path):
    return base64.b64encode(b"/".join(path)).decode("ascii")


def path_of(text):
    return base64.b64decode(text).split(b"/")


def move(root, source, place, name, back=False):
    parent = root.open_parent(source)
    try:
        if back:
            os.rename(name, source[-1], src_dir_fd=place, dst_dir_fd=parent)
        else:
            os.rename(source[-1], name, src_dir_fd=parent, dst_dir_fd=place)
    finally:
        os.close(parent)


def move_aside(root, ident, now):
    """Everything that goes, under a new name on the same file system, or nothing."""
    if not root.moves:
        return
    aside = open_aside(root, True)
    os.mkdir(ident, 0o700, dir_fd=aside)
    root.place = os.open(ident, DIRECTORY, dir_fd=aside)
    items = [{"slot": str(n), "path": text_of(m["raw"])} for n, m in enumerate(root.moves)]
    until = now + root.task["keep_seconds"]
    write_manifest(root.place, {"version": 1, "made": now, "until": until, "items": items})
    for n, item in enumerate(root.moves):
        move(root, item["raw"], root.place, str(n))
        root.moved = n + 1
    os.fsync(root.place)


def take_back(root):
    for n in reversed(range(getattr(root, "moved", 0))):
        move(root, root.moves[n]["raw"], root.place, str(n), back=True)


def empty(root):
    for item in root.truncates:
        parent = root.open_parent(item["raw"])
        try:
            flags = os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            fd = os.open(item["raw"][-1], flags, dir_fd=parent)
            try:
                os.ftruncate(fd, 0)
            finally:
                os.close(fd)
        finally:
            os.close(parent)


def require(root):
    """Directories that must be there afterwards, with the owner and mode of those that went."""
    if root.fd is None:
        return
    gone = {tuple(m["raw"]): m["status"] for m in root.moves}
    for parts in root.task["require_dirs"]:
        path = [p.encode("utf-8") for p in parts]
        fd = os.dup(root.fd)
        try:
            for n, name in enumerate(path):
                model = gone.get(tuple(path[:n + 1])) or os.fstat(fd)
                try:
                    os.mkdir(name, 0o700, dir_fd=fd)
                    inner = os.open(name, DIRECTORY, dir_fd=fd)
                    if (model.st_uid, model.st_gid) != (os.geteuid(), os.getegid()):
                        os.fchown(inner, model.st_uid, model.st_gid)
                    os.fchmod(inner, stat.S_IMODE(model.st_mode))
                except FileExistsError:
                    inner = os.open(name, DIRECTORY, dir_fd=fd)
                os.close(fd)
                fd = inner
        finally:
            os.close(fd)


def expired(root, now, ident):
    """Places whose time is over; our own when nothing is to be kept."""
    if root.fd is None:
        return []
    try:
        aside = open_aside(root, False)
    except OSError:
        return []
    names = []
    for name in os.listdir(aside):
        try:
            place = os.open(name, DIRECTORY, dir_fd=aside)
        except OSError:
            continue
        manifest = read_manifest(place)
        os.close(place)
        # What has no manifest of ours is somebody else's, or half-made a moment ago.
        if manifest and manifest.get("version") == 1 and manifest["until"] <= now:
            names.append((aside, name))
    return names


def free(places):
    """In the background, at low priority: the data is out of the way already."""
    if not places:
        return
    child = os.fork()
    if child:
        # Collected at once: a stock circusd cannot tell figures of a process with a zombie below it.
        os.waitpid(child, 0)
        return
    os.setsid()
    if os.fork():
        os._exit(0)
    try:
        os.nice(19)
        for aside, name in places:
            try:
                wipe(aside, name)
            except OSError:
                pass
    finally:
        os._exit(0)


def wipe(parent, name):
    try:
        fd = os.open(name, DIRECTORY, dir_fd=parent)
    except OSError:
        os.unlink(name, dir_fd=parent)
        return
    device = os.fstat(parent).st_dev
    try:
        if os.fstat(fd).st_dev != device:
            return
        # The manifest goes last, so that a place half freed is found again.
        for child in sorted(os.listdir(fd), key=lambda n: n == MANIFEST):
            wipe(fd, child)
    finally:
        os.close(fd)
    try:
        os.rmdir(name, dir_fd=parent)
    except OSError:
        pass


# ---- bringing back ---------------------------------------------------------------------------------

def newest(root):
    if root.fd is None:
        return None
    try:
        aside = open_aside(root, False)
    except OSError:
        return None
    best = None
    for name in os.listdir(aside):
        try:
            place = os.open(name, DIRECTORY, dir_fd=aside)
        except OSError:
            continue
        manifest = read_manifest(place)
        if manifest and manifest.get("version") == 1 and (best is None or manifest["made"] > best[2]["made"]):
            best = (aside, name, manifest, place)
    return best


def in_the_way(root, path):
    """Why something cannot come back to its place, if so. An empty directory is no obstacle."""
    try:
        parent = root.open_parent(path)
    except OSError as error:
        return "its directory: %s" % reason(error)
    try:
        os.rmdir(path[-1], dir_fd=parent)
    except FileNotFoundError:
        pass
    except OSError:
        return "there is something in its place again"
    finally:
        os.close(parent)
    return None


def undo_one(root, dry_run):
    best = newest(root)
    if best is None:
        return None
    aside, name, manifest, place = best
    back = []
    for item in manifest["items"]:
        path = path_of(item["path"])
        try:
            status = os.stat(item["slot"], dir_fd=place, follow_symlinks=False)
        except FileNotFoundError:
            continue
        size = (status.st_size, 1, status.st_mtime)
        if stat.S_ISDIR(status.st_mode):
            size = root.size(place, os.fsencode(item["slot"]), status)
        if not dry_run:
            obstacle = in_the_way(root, path)
            if obstacle:
                root.stays(path, obstacle)
                continue
            move(root, path, place, item["slot"], back=True)
        back.append(root.item(path, *size, status=status))
    root.moves = back
    if not dry_run and not root.kept:
        wipe(aside, name)
    return back


# ---- the whole -------------------------------------------------------------------------------------

def tell(roots, payload, now):
    services, lists = {}, []
    for root in roots:
        row = services.setdefault(root.task["service"], {
            "deleted": [], "truncated": [], "kept": [], "bytes": 0, "undo_until": None})
        for key, items in (("deleted", root.moves), ("truncated", root.truncates)):
            for item in items:
                row[key].append({k: item[k] for k in ("path", "bytes", "entries", "modified")})
                row["bytes"] += item["bytes"]
        row["kept"] += root.kept
        keep = root.task["keep_seconds"]
        if root.moves and keep > 0 and not payload["dry_run"] and not payload["undo"]:
            row["undo_until"] = max(row["undo_until"] or 0, now + keep)
    for row in services.values():
        for key in ("deleted", "truncated", "kept"):
            row["%s_count" % key] = len(row[key])
            lists.append(row[key])
    return fit({"services": services}, lists)


def reset(payload):
    now = time.time()
    mount_points = mounts()
    roots, problems = [], []
    for task in payload["tasks"]:
        try:
            root = Root(task, mount_points)
            if not payload["undo"]:
                root.plan()
            roots.append(root)
        except (Refused, OSError) as error:
            problems.append("%s: %s" % (task["root"], reason(error)))
    if problems:
        raise Refused(*problems)
    if payload["undo"]:
        found = [undo_one(root, payload["dry_run"]) for root in roots]
        if all(back is None for back in found):
            raise Refused("there is nothing to bring back")
        return tell(roots, payload, now)
    if not payload["dry_run"]:
        act(roots, payload["id"], now)
    return tell(roots, payload, now)


def act(roots, ident, now):
    # Two rules may share a root; their places must not share a name.
    begun = []
    try:
        for n, root in enumerate(roots):
            begun.append(root)
            move_aside(root, "%s-%d" % (ident, n), now)
    except OSError as error:
        for root in reversed(begun):
            take_back(root)
        raise Refused("nothing was moved: %s" % reason(error))
    for root in roots:
        empty(root)
        require(root)
    places = []
    for root in roots:
        for place in expired(root, now, ident):
            if place not in places:
                places.append(place)
    free(places)


if __name__ == "circusman":
    main(reset)
