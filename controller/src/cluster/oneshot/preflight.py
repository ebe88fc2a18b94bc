# Says what is so on this node, for a look before a start; a circusd-rs looks at the same things itself.
# It changes nothing: no port is bound that a service may want, no file is made.
#
# Payload: {"looks": [{"service", "address", "ports": [], "limits": [], "java", "needed": [], "written": [],
#                      "program", "uid", "gid", "working_dir", "env": {}, "pids": []}]}
# Result:  {"facts": [...]}, one for each look.

import grp, pwd, resource, socket, subprocess

# A Java machine may take long to start on a busy node.
JAVA = 10
TITLES = {"as": "Max address space", "core": "Max core file size", "data": "Max data size",
          "fsize": "Max file size", "memlock": "Max locked memory", "nofile": "Max open files",
          "nproc": "Max processes", "stack": "Max stack size"}


def user_name(uid):
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def group_name(gid):
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def account(uid, gid):
    """As whom a process runs; circus takes names and numbers."""
    if uid is None:
        number, groups = os.geteuid(), [os.getegid()] + os.getgroups()
        return {"name": user_name(number), "uid": number, "groups": groups}
    try:
        entry = pwd.getpwuid(int(uid)) if str(uid).isdigit() else pwd.getpwnam(uid)
        main = entry.pw_gid if gid is None else int(gid) if str(gid).isdigit() else grp.getgrnam(gid).gr_gid
    except KeyError as error:
        return {"error": str(error.args[0])}
    groups = [main] + os.getgrouplist(entry.pw_name, main)
    return {"name": entry.pw_name, "uid": entry.pw_uid, "groups": groups}


def addresses(name):
    return sorted(set((i[0], i[4]) for i in socket.getaddrinfo(name, 0, type=socket.SOCK_DGRAM)))


def name_error(name):
    try:
        addresses(name)
    except (OSError, UnicodeError) as error:
        return reason(error)


def address_error(address):
    """Whatever can be bound is on an interface of this machine; a datagram port is in nobody's way."""
    try:
        found = addresses(address)
    except (OSError, UnicodeError) as error:
        return reason(error)
    why = "it has no address"
    for family, where in found:
        probe = socket.socket(family, socket.SOCK_DGRAM)
        try:
            probe.bind(where)
            return None
        except OSError as error:
            why = reason(error)
        finally:
            probe.close()
    return why


def program_error(look):
    name, directory = look["program"], look["working_dir"] or "/"
    if not name:
        return None
    path = look["env"].get("PATH", "/bin:/usr/bin")
    places = [name] if "/" in name else [p.rstrip("/") + "/" + name if p else name for p in path.split(":")]
    found = [p for p in (os.path.join(directory, place) for place in places) if os.path.isfile(p)]
    if not found:
        return "it is not there"
    if not any(os.stat(p).st_mode & 0o111 for p in found):
        return "it is not executable"
    return None


def limits(look):
    told = {}
    for pid in look["pids"][:1]:
        try:
            with open("/proc/%d/limits" % pid) as f:
                for line in f:
                    for name, title in TITLES.items():
                        if line.startswith(title):
                            told[name] = line[len(title):].split()[:2]
        except (OSError, IOError):
            pass
    found = []
    for name in look["limits"]:
        if name in told:
            soft, hard = [None if w == "unlimited" else int(w) for w in told[name]]
        else:
            number = getattr(resource, "RLIMIT_" + name.upper(), None)
            if number is None:
                continue
            pair = resource.getrlimit(number)
            soft, hard = [None if v == resource.RLIM_INFINITY or v < 0 else v for v in pair]
        found.append({"resource": name, "soft": soft, "hard": hard, "running": name in told})
    return found


# ---- ports -----------------------------------------------------------------------------------------

def address_of(text):
    """Words of four bytes, each as the machine keeps a number."""
    raw = b"".join(int(text[i:i + 8], 16).to_bytes(4, sys.byteorder) for i in range(0, len(text), 8))
    if len(raw) == 16 and raw[:12] == b"\0" * 10 + b"\xff\xff":
        raw = raw[12:]
    return socket.inet_ntop(socket.AF_INET if len(raw) == 4 else socket.AF_INET6, raw)


def listeners(ports):
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            with open(table) as f:
                lines = f.read().split("\n")[1:]
        except (OSError, IOError):
            continue
        for fields in (line.split() for line in lines):
            if len(fields) > 9 and fields[3] == "0A":
                address, port = fields[1].split(":")
                if int(port, 16) in ports:
                    yield address_of(address), int(port, 16), int(fields[7]), fields[9]


def in_the_way(listener, own):
    """Nodes can share a machine by addresses of its loopback: the same one and the wildcard count then."""
    return listener in ("0.0.0.0", "::", own) or own is None or not (own.startswith("127.") or own == "::1")


def owners(inodes):
    found = {}
    for pid in sorted(int(n) for n in os.listdir("/proc") if n.isdigit()):
        try:
            links = [os.readlink("/proc/%d/fd/%s" % (pid, n)) for n in os.listdir("/proc/%d/fd" % pid)]
        except OSError:
            continue
        for link in links:
            if link.startswith("socket:[") and link[8:-1] in inodes:
                found.setdefault(link[8:-1], pid)
    return found


def command(pid):
    try:
        with open("/proc/%d/cmdline" % pid, "rb") as f:
            text = f.read().decode("utf-8", "replace").replace("\0", " ").strip()
    except (OSError, IOError):
        return ""
    text = "".join(c if c.isprintable() else "?" for c in text)
    return text if len(text) <= 80 else text[:80] + "..."


def is_own(pid, pids):
    """One of these, or a descendant; or the daemon, which holds sockets for its services."""
    current = pid
    for _ in range(64):
        if current in pids:
            return True
        try:
            with open("/proc/%d/stat" % current) as f:
                current = int(f.read().rpartition(")")[2].split()[1])
        except (OSError, IOError, ValueError, IndexError):
            break
        if current <= 1:
            break
    return pid == os.getppid()


def holders(look):
    own = look["address"]
    found = [l for l in listeners(set(look["ports"])) if in_the_way(l[0], own)]
    pids = owners(set(l[3] for l in found)) if found else {}
    rows, seen = [], set()
    for address, port, uid, inode in sorted(found, key=lambda l: l[1]):
        pid = pids.get(inode)
        if (port, pid) in seen:
            continue
        seen.add((port, pid))
        rows.append({"port": port, "at": ("[%s]:%d" if ":" in address else "%s:%d") % (address, port),
                     "pid": pid, "command": command(pid) if pid else "", "user": user_name(uid),
                     "own": pid is not None and is_own(pid, look["pids"])})
    return rows


# ---- Java and directories --------------------------------------------------------------------------

def java(look, user):
    home = look["env"].get("JAVA_HOME")
    program = home + "/bin/java" if home else "java"

    def become():
        # As its own user; only root can.
        if os.geteuid() == 0 and user.get("uid", 0) != 0:
            os.setgroups(user["groups"])
            os.setgid(user["groups"][0])
            os.setuid(user["uid"])

    try:
        output = subprocess.check_output([program, "-version"], stderr=subprocess.STDOUT, timeout=JAVA,
                                         env=look["env"] or None, cwd="/", preexec_fn=become)
        return {"output": output.decode("utf-8", "replace")[:2000]}
    except subprocess.TimeoutExpired:
        return {"error": "%s: no answer within %d s" % (program, JAVA)}
    except subprocess.CalledProcessError as error:
        said = error.output.decode("utf-8", "replace").strip().split("\n")[0][:200]
        return {"error": "%s: exit status %d: %s" % (program, error.returncode, said)}
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        return {"error": "%s: %s" % (program, reason(error))}


def fact(path):
    """The path, or the nearest above it that is there."""
    row, found = {"path": path, "foreign": None, "error": None}, path
    while True:
        try:
            status = os.stat(found)
            break
        except FileNotFoundError:
            found = os.path.dirname(found.rstrip("/")) or "/"
        except OSError as error:
            row["error"] = reason(error)
            return row
    row.update(found=found, is_dir=stat.S_ISDIR(status.st_mode), uid=status.st_uid, gid=status.st_gid,
               owner="%s:%s" % (user_name(status.st_uid), group_name(status.st_gid)),
               mode=stat.S_IMODE(status.st_mode))
    if found == path and row["is_dir"]:
        row["foreign"] = foreign(path, status.st_uid)
    return row


def foreign(path, uid):
    """Something in it that belongs to somebody else than the directory: left by a start as root."""
    try:
        names = os.listdir(path)[:1000]
    except OSError:
        return None
    for name in names:
        if name == ".circus-reset":
            continue
        try:
            owner = os.lstat(os.path.join(path, name)).st_uid
        except OSError:
            continue
        if owner != uid:
            shown = os.fsencode(os.path.join(path, name)).decode("utf-8", "replace")
            return {"path": shown, "owner": user_name(owner)}
    return None


def facts(look):
    user = account(look["uid"], look["gid"])
    hostname = socket.gethostname()
    return {
        "user": user, "privileged": os.geteuid() == 0, "hostname": hostname,
        "hostname_error": name_error(hostname),
        "address_error": address_error(look["address"]) if look["address"] else None,
        "program_error": program_error(look), "limits": limits(look), "holders": holders(look),
        "java": java(look, user) if look["java"] else None,
        "paths": [fact(path) for path in look["needed"] + look["written"]],
    }


def preflight(payload):
    return {"facts": [facts(look) for look in payload["looks"]]}


if __name__ == "circusman":
    main(preflight)
