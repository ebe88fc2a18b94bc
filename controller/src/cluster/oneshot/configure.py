# Writes configuration files: all of them or none, each replaced in one instant. The same rules as a
# circusd-rs applies to its own configure.
#
# Payload: {"files": [{"service", "label", "path", "content", "mode", "owner": [user, group|null]|null,
#                      "policy": "refuse"|"allow", "running": bool}], "dry_run": bool}
# "refuse": the service runs and its files must not change now.

import difflib, grp, pwd

COPY = ".circus-new"
# The largest file that is read for comparison.
MAX_FILE = 16 * 1024 * 1024


class Target(object):
    """Where a file really is, and what is there now."""

    def __init__(self, file):
        self.file = file
        self.content = file["content"].encode("utf-8")
        self.found = walk(file["path"])
        self.old = None
        self.mode, self.uid, self.gid = file["mode"], None, None
        status = self.found.status
        if status is None:
            if file["owner"]:
                self.uid, self.gid = owner(*file["owner"])
            return
        if not stat.S_ISREG(status.st_mode):
            raise Refused("it is not a regular file")
        self.mode, self.uid, self.gid = stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with os.fdopen(os.open(self.found.name, flags, dir_fd=self.found.directory), "rb") as f:
            self.old = f.read(MAX_FILE + 1)
        if len(self.old) > MAX_FILE:
            raise Refused("what is there has more than %d bytes" % MAX_FILE)

    def changed(self):
        return self.old != self.content

    def problem(self, text):
        f = self.file
        return "%s: the target of %s:%s cannot be written: %s" % (f["path"], f["service"], f["label"], text)

    def diff(self):
        old = (self.old or b"").decode("utf-8", "replace").splitlines(True)
        new = self.content.decode("utf-8", "replace").splitlines(True)
        before = "/dev/null" if self.old is None else self.file["path"]
        lines = []
        for line in difflib.unified_diff(old, new, before, self.file["path"]):
            lines.append(line if line.endswith("\n") else line + "\n\\ No newline at end of file\n")
        return "".join(lines)

    def copy_name(self):
        return "." + self.found.name + COPY

    def write_copy(self, content):
        """The content on disk, beside the target, with the target's owner and mode."""
        directory, name = self.found.directory, self.copy_name()
        self.remove_copy()
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(name, flags, 0o600, dir_fd=directory), "wb") as f:
            f.write(content)
            f.flush()
            status = os.fstat(f.fileno())
            uid = -1 if self.uid in (None, status.st_uid) else self.uid
            gid = -1 if self.gid in (None, status.st_gid) else self.gid
            if uid != -1 or gid != -1:
                os.fchown(f.fileno(), uid, gid)
            os.fchmod(f.fileno(), self.mode)
            os.fsync(f.fileno())

    def remove_copy(self):
        try:
            os.unlink(self.copy_name(), dir_fd=self.found.directory)
        except FileNotFoundError:
            pass

    def take_place(self):
        directory = self.found.directory
        os.rename(self.copy_name(), self.found.name, src_dir_fd=directory, dst_dir_fd=directory)
        os.fsync(directory)

    def put_back(self):
        """After a later file failed: the old content again, or no file where there was none."""
        if self.old is None:
            os.unlink(self.found.name, dir_fd=self.found.directory)
        else:
            self.write_copy(self.old)
            self.take_place()


def owner(user, group):
    """Names or numbers as numbers. A user without a group brings its own."""
    try:
        entry = pwd.getpwuid(int(user)) if user.isdigit() else pwd.getpwnam(user)
        uid, gid = entry.pw_uid, entry.pw_gid
    except KeyError:
        if not user.isdigit():
            raise Refused("there is no user %s" % user)
        uid, gid = int(user), None
    if group is not None:
        try:
            gid = int(group) if group.isdigit() else grp.getgrnam(group).gr_gid
        except KeyError:
            raise Refused("there is no group %s" % group)
    return uid, gid


def look(files):
    """Every target, or every problem with any of them."""
    targets, problems, seen = [], [], {}
    for file in files:
        what = "%s:%s" % (file["service"], file["label"])
        try:
            target = Target(file)
            other = seen.setdefault(target.found.real, what)
            if other != what:
                raise Refused("it is the same file as the target of %s" % other)
            targets.append(target)
        except (Refused, OSError) as error:
            text = reason(error)
            problems.append("%s: the target of %s cannot be written: %s" % (file["path"], what, text))
    if problems:
        raise Refused(*problems)
    return targets


def replace(targets):
    """All or none: a copy beside each first, and then one rename after the other."""
    problems, written = [], []
    for target in targets:
        try:
            target.write_copy(target.content)
            written.append(target)
        except OSError as error:
            problems.append(target.problem(reason(error)))
    if problems:
        for target in targets:
            try:
                target.remove_copy()
            except OSError:
                pass
        raise Refused(*problems)
    done = []
    try:
        for target in targets:
            done.append(target)
            target.take_place()
    except OSError as error:
        problems = [done[-1].problem(reason(error))]
        for target in targets:
            try:
                if target in done[:-1]:
                    target.put_back()
                else:
                    target.remove_copy()
            except OSError as second:
                text = "%s: was replaced and could not be put back: %s"
                problems.append(text % (target.file["path"], reason(second)))
        raise Refused(*problems)


def configure(payload):
    targets = look(payload["files"])
    changed = [t for t in targets if t.changed()]
    text = ("%s is running and %s would change; stop it first, "
            "or set configure_while_running in [service:%s]")
    frozen = [t.file for t in changed if t.file["policy"] == "refuse"]
    # A dry run says what would change and who would have to be stopped for it.
    if frozen and not payload["dry_run"]:
        raise Refused(*[text % (f["service"], f["path"], f["service"]) for f in frozen])
    if payload["dry_run"]:
        denied = [t for t in changed if not os.access(".", os.W_OK | os.X_OK, dir_fd=t.found.directory)]
        if denied:
            raise Refused(*[t.problem("its directory: permission denied") for t in denied])
    else:
        replace(changed)
    files = []
    for target in targets:
        f = target.file
        row = {"service": f["service"], "label": f["label"], "path": f["path"],
               "changed": target.changed(), "running": f["running"]}
        if payload["dry_run"]:
            row["diff"] = target.diff()
        files.append(row)
    return shorten({"success": True, "files": files})


def shorten(result):
    """Diffs that are too long together are cut, the longest first."""
    rows = [row for row in result["files"] if row.get("diff")]
    while rows and len(json.dumps(result)) * 4 // 3 + 64 > LIMIT:
        row = max(rows, key=lambda r: len(r["diff"]))
        if len(row["diff"]) < 200:
            break
        half = row["diff"][:len(row["diff"]) // 2]
        half = half[:half.rfind("\n") + 1]
        row["diff"] = half + "(the rest of the difference is too long to be told)\n"
    return result


if __name__ == "circusman":
    main(configure)
