# Moves a service's data (or logs) out of the way, in one instant per piece, or brings it back. The same
# rules as a circusd-rs applies to its own reset: only below declared roots, never through a link, never
# across a mount, with a dry run that lists everything.
#
# Payload: {"tasks": [{"service", "rule", "root", "delete": [], "truncate": [], "keep": [],
#                      "require_dirs": [[]], "keep_seconds"}], "dry_run", "undo"}
#
# What is moved lies in ROOT/.circus-reset/TIME-N/ as numbered entries beside a journal that says where
# each came from: the place and the format of circusd-rs, so that a node may change over at any time.
# What has had its time is freed by the next reset; there is no daemon of ours here to do it earlier.

import fcntl, re, time

ASIDE = ".circus-reset"
JOURNAL, DONE, UNDOING, FREE = "journal", "done", "undoing", "free-"
HEAD = "circus-reset 1"
MAX_DEPTH = 200
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
        self.moves, self.truncates, self.kept, self.problems = [], [], [], []
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

    def problem(self, path, why):
        self.problems.append("%s: %s" % (self.shown(path), why))

    def look(self, fd, above):
        """What happens to each entry of a directory."""
        if len(above) > MAX_DEPTH:
            return self.problem(above, "is too deep")
        for name in sorted(os.listdir(fd)):
            raw = os.fsencode(name)
            try:
                status = os.stat(raw, dir_fd=fd, follow_symlinks=False)
            except FileNotFoundError:
                continue
            self.judge(fd, raw, above + [raw], status)

    def judge(self, fd, raw, path, status):
        verdict = self.rule.verdict(path)
        if verdict == "keep":
            self.stays(path, "a keep pattern names it")
        elif verdict == "delete":
            self.goes(fd, raw, path, status)
        elif verdict == "around":
            self.around(fd, raw, path, status)
        elif verdict == "truncate":
            self.emptied(path, status)
        elif verdict == "descend":
            self.descend(fd, raw, path, status)

    def goes(self, fd, raw, path, status):
        try:
            self.moves.append(self.item(path, *self.measure(fd, raw, path, status), status=status))
        except Refused as refused:
            self.problems += refused.problems

    def around(self, fd, raw, path, status):
        """Something below is kept, if it is there; otherwise the directory goes as a whole."""
        if not stat.S_ISDIR(status.st_mode):
            return self.goes(fd, raw, path, status)
        moves, kept, problems = len(self.moves), len(self.kept), len(self.problems)
        self.descend(fd, raw, path, status)
        if (len(self.kept), len(self.problems)) == (kept, problems):
            del self.moves[moves:]
            self.goes(fd, raw, path, status)

    def emptied(self, path, status):
        if self.is_mount(path, status):
            self.stays(path, "something else is mounted there")
        elif stat.S_ISLNK(status.st_mode):
            self.stays(path, "a link is not followed")
        elif not stat.S_ISREG(status.st_mode):
            self.stays(path, "only files can be emptied")
        elif status.st_nlink != 1:
            self.stays(path, "it has another name, perhaps outside of the root")
        else:
            self.truncates.append(self.item(path, status.st_size, 1, status.st_mtime, status))

    def descend(self, fd, raw, path, status):
        if stat.S_ISLNK(status.st_mode):
            self.stays(path, "a link is not followed")
        elif stat.S_ISDIR(status.st_mode) and self.is_mount(path, status):
            self.stays(path, "something else is mounted there")
        elif stat.S_ISDIR(status.st_mode):
            inner = os.open(raw, DIRECTORY, dir_fd=fd)
            try:
                self.look(inner, path)
            finally:
                os.close(inner)

    def item(self, path, size, entries, modified, status):
        return {"raw": path, "path": self.shown(path), "bytes": size, "entries": entries,
                "modified": modified, "status": status}

    def measure(self, fd, raw, path, status):
        """Bytes, entries and newest change of a tree that goes as a whole."""
        if path is not None and self.is_mount(path, status):
            text = "%s: something else is mounted there; unmount it, or name it under `keep`"
            raise Refused(text % self.shown(path))
        if not stat.S_ISDIR(status.st_mode):
            return status.st_size, 1, status.st_mtime
        if path is not None and len(path) > MAX_DEPTH:
            raise Refused("%s: is more than %d levels deep" % (self.shown(path), MAX_DEPTH))
        total, entries, newest = 0, 1, status.st_mtime
        inner = os.open(raw, DIRECTORY, dir_fd=fd)
        try:
            for name in os.listdir(inner):
                child = os.fsencode(name)
                below = os.stat(child, dir_fd=inner, follow_symlinks=False)
                there = None if path is None else path + [child]
                b, e, m = self.measure(inner, child, there, below)
                total, entries, newest = total + b, entries + e, max(newest, m)
        finally:
            os.close(inner)
        return total, entries, newest

    def open_parent(self, path):
        """The directory that holds the last component, opened step by step."""
        fd = os.dup(self.fd)
        for name in path[:-1]:
            try:
                inner = os.open(name, DIRECTORY, dir_fd=fd)
            finally:
                os.close(fd)
            fd = inner
        return fd


# ---- the place aside -------------------------------------------------------------------------------

def escape(raw):
    return re.sub(b"[^A-Za-z0-9._:-]", lambda m: b"%%%02X" % ord(m.group(0)), raw).decode("ascii")


def unescape(text):
    return re.sub(b"%([0-9A-F]{2})", lambda m: bytes([int(m.group(1), 16)]), text.encode("ascii"))


class Aside(object):
    """The open place aside of one root, locked against others."""

    def __init__(self, root, fd):
        self.root, self.fd = root, fd
        status = os.fstat(fd)
        # One that a service's user made could hold anything, a journal that lies for one.
        if status.st_uid != os.geteuid():
            raise Refused("%s/%s belongs to user %d" % (root.task["root"], ASIDE, status.st_uid))
        os.fchmod(fd, 0o700)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Refused("%s/%s: another reset is at work" % (root.task["root"], ASIDE))
        except OSError:
            pass  # a file system without locks has to do without

    def begin(self, task, moves, now):
        """A directory for one reset, and the journal in it, both on disk."""
        stamp = ("%.4f" % now).replace(".", "").rjust(16, "0")
        for number in range(1000):
            name = "%s-%03d" % (stamp, number)
            try:
                os.mkdir(name, 0o700, dir_fd=self.fd)
                break
            except FileExistsError:
                continue
        else:
            raise Refused("too many resets at once")
        lines = [HEAD, "service " + escape(task["service"].encode("utf-8")),
                 "rule " + escape(task["rule"].encode("utf-8")), "made %r" % now,
                 "until %r" % (now + task["keep_seconds"])]
        lines += ["move %d %s" % (n, "/".join(escape(p) for p in path)) for n, path in enumerate(moves)]
        record = Record(self, name, task["service"], task["rule"], now, now + task["keep_seconds"], moves)
        record.write(JOURNAL, "\n".join(lines) + "\n")
        os.fsync(self.fd)
        return record

    def records(self):
        """Every reset that is here, newest last."""
        found = []
        for name in sorted(os.listdir(self.fd)):
            record = None if name.startswith(FREE) else read_record(self, name)
            if record is not None:
                found.append(record)
        return found

    def give_up(self, record):
        """From this instant on it cannot be undone."""
        os.rename(record.name, FREE + record.name, src_dir_fd=self.fd, dst_dir_fd=self.fd)

    def waste(self):
        return [name for name in os.listdir(self.fd) if name.startswith(FREE)]


def read_record(aside, name):
    try:
        fd = os.open(name, DIRECTORY, dir_fd=aside.fd)
        with os.fdopen(os.open(JOURNAL, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)) as f:
            lines = f.read().split("\n")
        os.close(fd)
        if lines[0] != HEAD or lines[-1] != "":
            return None
        values = [line.split(" ", 1)[1] for line in lines[1:5]]
        moves = [[unescape(p) for p in line.split(" ", 2)[2].split("/")] for line in lines[5:-1]]
    except (OSError, ValueError, IndexError):
        return None
    if any(p in (b"", b".", b"..") or b"/" in p or b"\0" in p for path in moves for p in path):
        return None
    service, rule = unescape(values[0]).decode("utf-8"), unescape(values[1]).decode("utf-8")
    return Record(aside, name, service, rule, float(values[2]), float(values[3]), moves)


class Record(object):
    """One reset in a place aside."""

    def __init__(self, aside, name, service, rule, made, until, moves):
        self.aside, self.name, self.moves = aside, name, moves
        self.service, self.rule, self.made, self.until = service, rule, made, until
        self.fd = os.open(name, DIRECTORY, dir_fd=aside.fd)

    def write(self, name, text):
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(name, flags, 0o600, dir_fd=self.fd), "w") as f:
            f.write(text)
            f.flush()
            os.fsync(f.fileno())
        os.fsync(self.fd)

    def has(self, name):
        try:
            return os.stat(name, dir_fd=self.fd, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def take(self, slot):
        path = self.moves[slot]
        parent = self.aside.root.open_parent(path)
        try:
            os.rename(path[-1], str(slot), src_dir_fd=parent, dst_dir_fd=self.fd)
        finally:
            os.close(parent)

    def blocked(self, slot):
        """Whether something else is now where a piece belongs. An empty directory is not in the way."""
        path = self.moves[slot]
        try:
            parent = self.aside.root.open_parent(path)
        except FileNotFoundError:
            return False
        try:
            os.rmdir(path[-1], dir_fd=parent)
        except FileNotFoundError:
            pass
        except OSError:
            return True
        finally:
            os.close(parent)
        return False

    def give_back(self, slot):
        path = self.moves[slot]
        for n in range(1, len(path)):
            parent = self.aside.root.open_parent(path[:n])
            try:
                os.mkdir(path[n - 1], 0o755, dir_fd=parent)
            except FileExistsError:
                pass
            finally:
                os.close(parent)
        parent = self.aside.root.open_parent(path)
        try:
            os.rename(str(slot), path[-1], src_dir_fd=self.fd, dst_dir_fd=parent)
        finally:
            os.close(parent)

    def forget(self):
        for name in (DONE, UNDOING, JOURNAL):
            try:
                os.unlink(name, dir_fd=self.fd)
            except FileNotFoundError:
                pass
        os.rmdir(self.name, dir_fd=self.aside.fd)


def asides(roots, make):
    """The place of each root; two rules with one root share it, because its lock is one."""
    shared = {}
    for root in roots:
        root.aside = shared.get(getattr(root, "real", None))
        if root.aside is not None or root.fd is None:
            continue
        if make and root.moves:
            try:
                os.mkdir(ASIDE, 0o700, dir_fd=root.fd)
            except FileExistsError:
                pass
        try:
            fd = os.open(ASIDE, DIRECTORY, dir_fd=root.fd)
        except FileNotFoundError:
            continue
        root.aside = shared[root.real] = Aside(root, fd)
    return list(shared.values())


# ---- acting ----------------------------------------------------------------------------------------

def act(roots, now):
    places = asides(roots, True)
    records, likenesses = [], [likeness(root) for root in roots]
    try:
        for root in roots:
            if root.moves:
                record = root.aside.begin(root.task, [m["raw"] for m in root.moves], now)
                records.append(record)
                for slot in range(len(record.moves)):
                    record.take(slot)
                record.write(DONE, "")
    except (OSError, Refused) as error:
        problems = ["nothing was moved: %s" % reason(error)]
        for record in reversed(records):
            problems += put_back(record)
        raise Refused(*problems)
    for root, models in zip(roots, likenesses):
        empty(root)
        require(root, models)
    for aside in places:
        for record in aside.records():
            if record.until <= now and record.has(DONE):
                aside.give_up(record)
    free([(aside.root.fd, aside.fd, aside.waste()) for aside in places])


def put_back(record):
    problems = []
    for slot in range(len(record.moves)):
        if record.has(str(slot)):
            try:
                record.give_back(slot)
            except OSError as error:
                shown = record.aside.root.shown(record.moves[slot])
                problems.append("%s: stays aside: %s" % (shown, reason(error)))
    if not problems:
        record.forget()
    return problems


def empty(root):
    for item in root.truncates:
        parent = root.open_parent(item["raw"])
        try:
            flags = os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
            fd = os.open(item["raw"][-1], flags, dir_fd=parent)
            try:
                if os.fstat(fd).st_nlink == 1:
                    os.ftruncate(fd, 0)
            finally:
                os.close(fd)
        finally:
            os.close(parent)


def likeness(root):
    """Owner and mode of the directories that must be there afterwards, before they go."""
    models = {}
    if root.fd is None:
        return models
    for parts in root.task["require_dirs"]:
        path = [p.encode("utf-8") for p in parts]
        for n in range(1, len(path) + 1):
            try:
                parent = root.open_parent(path[:n])
                try:
                    models[tuple(path[:n])] = os.stat(path[n - 1], dir_fd=parent, follow_symlinks=False)
                finally:
                    os.close(parent)
            except OSError:
                break
    return models


def require(root, models):
    if root.fd is None:
        return
    for parts in root.task["require_dirs"]:
        path = [p.encode("utf-8") for p in parts]
        fd = os.dup(root.fd)
        try:
            for n, name in enumerate(path):
                model = models.get(tuple(path[:n + 1])) or os.fstat(fd)
                try:
                    os.mkdir(name, 0o700, dir_fd=fd)
                    inner = os.open(name, DIRECTORY, dir_fd=fd)
                    made = os.fstat(inner)
                    if (model.st_uid, model.st_gid) != (made.st_uid, made.st_gid):
                        os.fchown(inner, model.st_uid, model.st_gid)
                    os.fchmod(inner, stat.S_IMODE(model.st_mode))
                except FileExistsError:
                    inner = os.open(name, DIRECTORY, dir_fd=fd)
                os.close(fd)
                fd = inner
        finally:
            os.close(fd)


def free(places):
    """In the background, at low priority: the data is out of the way already."""
    if not any(names for _, _, names in places):
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
        for root, aside, names in places:
            # Freeing may take long, and needs no lock.
            fcntl.flock(aside, fcntl.LOCK_UN)
            for name in names:
                wipe(aside, name)
            try:
                os.rmdir(ASIDE, dir_fd=root)
            except OSError:
                pass
    finally:
        os._exit(0)


def wipe(parent, name):
    try:
        try:
            fd = os.open(name, DIRECTORY, dir_fd=parent)
        except OSError:
            os.unlink(name, dir_fd=parent)
            return
        try:
            if os.fstat(fd).st_dev != os.fstat(parent).st_dev:
                return
            for child in os.listdir(fd):
                wipe(fd, child)
        finally:
            os.close(fd)
        os.rmdir(name, dir_fd=parent)
    except OSError:
        pass  # the next reset finds it again


# ---- bringing back ---------------------------------------------------------------------------------

def undo(roots, now, dry_run):
    """The last reset of each rule. What took its place meanwhile goes aside the same way."""
    places = asides(roots, False)
    found = False
    for root in roots:
        if root.aside is None:
            continue
        ours = [r for r in root.aside.records()
                if (r.service, r.rule) == (root.task["service"], root.task["rule"])]
        if not ours:
            continue
        found = True
        record = ([r for r in ours if r.has(UNDOING)] or ours)[-1]
        for slot, path in enumerate(record.moves):
            status = record.has(str(slot))
            if status:
                size = root.measure(record.fd, str(slot).encode("ascii"), None, status)
                root.moves.append(root.item(path, *size, status=status))
        if not dry_run:
            bring_back(root, record, now)
    if not found:
        raise Refused("no reset can be undone: nothing is kept aside for these services")
    if not dry_run:
        free([(aside.root.fd, aside.fd, aside.waste()) for aside in places])


def bring_back(root, record, now):
    record.write(UNDOING, "")
    slots = [n for n in range(len(record.moves)) if record.has(str(n))]
    blocked = [n for n in slots if record.blocked(n)]
    if blocked:
        newer = root.aside.begin(root.task, [record.moves[n] for n in blocked], now)
        for slot in range(len(newer.moves)):
            newer.take(slot)
        newer.write(DONE, "")
        root.again_until = newer.until
    for slot in slots:
        record.give_back(slot)
    root.aside.give_up(record)


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
        until = getattr(root, "again_until", None)
        if root.moves and root.task["keep_seconds"] > 0 and not payload["undo"]:
            until = now + root.task["keep_seconds"]
        if until is not None and not payload["dry_run"]:
            row["undo_until"] = max(row["undo_until"] or 0, until)
    for row in services.values():
        for key in ("deleted", "truncated", "kept"):
            row[key + "_count"] = len(row[key])
            lists.append(row[key])
    return fit({"services": services}, lists)


def overlaps(roots):
    """What an earlier rule takes is not taken again."""
    gone = []
    for root in roots:
        def is_gone(item):
            whole = root.real + b"/" + b"/".join(item["raw"])
            return any(whole == g or whole.startswith(g + b"/") for g in gone)
        root.moves = [m for m in root.moves if not is_gone(m)]
        root.truncates = [t for t in root.truncates if not is_gone(t)]
        gone += [root.real + b"/" + b"/".join(m["raw"]) for m in root.moves]


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
            problems += root.problems
        except (Refused, OSError) as error:
            problems.append("%s: %s" % (task["root"], reason(error)))
    if problems:
        raise Refused(*problems)
    if payload["undo"]:
        undo(roots, now, payload["dry_run"])
    else:
        overlaps([root for root in roots if root.fd is not None])
        if not payload["dry_run"]:
            act(roots, now)
    return tell(roots, payload, now)


if __name__ == "circusman":
    main(reset)
