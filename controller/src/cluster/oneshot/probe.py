# Asks what a service's probes ask and only this node can: programs, log files, what listens on the
# loopback alone, what wants a password that is kept here.
#
# Payload: {"errands": [{"tcp"} | {"http", "status", "body", "login"} | {"exec", "exit_codes", "output"} |
#                       {"log", "pattern"}, each with "limit", "uid", "gid", "env", "working_dir", "age"],
#           "patience"}
# Result:  {"answers": [null or why not, ...]}
#
# It asks again, once a second, until all say yes or its patience is over: adding a watcher for each try
# would cost the daemon more than the probes do.

import re, shlex, signal, socket, subprocess, time

STARTED = time.time()
PAUSE = 1.0
MOST_LOG = 4 * 1024 * 1024


def matches(pattern, text):
    return re.search(pattern, text, re.MULTILINE) is not None


def first_line(text):
    lines = text.strip().split("\n")
    return lines[0][:200]


def split(address):
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def tcp(errand):
    try:
        socket.create_connection(split(errand["tcp"]), errand["limit"]).close()
    except OSError as error:
        return "tcp %s: %s" % (errand["tcp"], reason(error))


def http(errand):
    import http.client
    url = errand["http"]
    try:
        where, slash, path = url[len("http://"):].partition("/")
        host, port = split(where) if ":" in where.rpartition("]")[2] else (where.strip("[]"), 80)
        headers = {"Connection": "close"}
        if errand["login"]:
            user, file = errand["login"]
            with open(file) as f:
                password = f.readline().rstrip("\r\n")
            token = base64.b64encode(("%s:%s" % (user, password)).encode("utf-8")).decode("ascii")
            headers["Authorization"] = "Basic " + token
        connection = http.client.HTTPConnection(host, port, timeout=errand["limit"])
        try:
            connection.request("GET", slash + path or "/", headers=headers)
            answer = connection.getresponse()
            body = answer.read(256 * 1024).decode("utf-8", "replace")
        finally:
            connection.close()
    except (OSError, ValueError, http.client.HTTPException) as error:
        return "http %s: %s" % (url, reason(error))
    if answer.status not in errand["status"]:
        return "http %s: status %d" % (url, answer.status)
    if errand["body"] and not matches(errand["body"], body.strip()):
        return "http %s: the body is %r" % (url, first_line(body))


def program(errand):
    argv = shlex.split(errand["exec"])
    uid, groups = identity(errand)

    def become():
        os.setsid()
        if uid is not None and os.geteuid() == 0:
            os.setgroups(groups)
            os.setgid(groups[0])
            os.setuid(uid)

    try:
        child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                 stderr=subprocess.STDOUT, env=errand["env"] or None,
                                 cwd=errand["working_dir"] or None, preexec_fn=become)
    except (OSError, ValueError, IndexError, subprocess.SubprocessError) as error:
        return "exec %s: %s" % (argv[:1], reason(error))
    try:
        output = child.communicate(timeout=errand["limit"])[0].decode("utf-8", "replace")
    except subprocess.TimeoutExpired:
        return "exec %s: no answer within %g s" % (argv[0], errand["limit"])
    finally:
        # Nothing of it stays, whatever it started.
        try:
            os.killpg(child.pid, signal.SIGKILL)
        except OSError:
            pass
        child.wait()
        child.stdout.close()
    if child.returncode not in errand["exit_codes"]:
        said = first_line(output)
        return "exec %s: exit status %d%s" % (argv[0], child.returncode, ": " + said if said else "")
    if errand["output"] and not matches(errand["output"], output.strip()):
        return "exec %s: the output does not match %r" % (argv[0], errand["output"])


def identity(errand):
    import grp, pwd
    uid, gid = errand.get("uid"), errand.get("gid")
    if uid is None:
        return None, []
    entry = pwd.getpwuid(int(uid)) if str(uid).isdigit() else pwd.getpwnam(uid)
    main = entry.pw_gid if gid is None else int(gid) if str(gid).isdigit() else grp.getgrnam(gid).gr_gid
    return entry.pw_uid, [main] + os.getgrouplist(entry.pw_name, main)


def log(errand):
    """A line since the start. Where the file was then is not known here: one that was not written to
    since says nothing, and of one that was the newest lines count."""
    path = errand["log"]
    try:
        with open(path, "rb") as f:
            status = os.fstat(f.fileno())
            if errand["age"] is not None and status.st_mtime < STARTED - errand["age"]:
                return "log %s: nothing was written since the start" % path
            f.seek(max(0, status.st_size - MOST_LOG))
            text = f.read().decode("utf-8", "replace")
    except OSError as error:
        return "log %s: %s" % (path, reason(error))
    if not matches(errand["pattern"], text):
        return "log %s: no line matches %r" % (path, errand["pattern"])


def ask(errand):
    for key, answer in (("tcp", tcp), ("http", http), ("exec", program), ("log", log)):
        if key in errand:
            try:
                return answer(errand)
            except (KeyError, ValueError, re.error) as error:
                return "%s: %s" % (errand[key], reason(error))
    return "an unknown kind of probe"


def probe(payload):
    until = time.time() + payload["patience"]
    while True:
        answers = [ask(errand) for errand in payload["errands"]]
        if all(a is None for a in answers) or time.time() + PAUSE >= until:
            return {"answers": answers}
        time.sleep(PAUSE)


if __name__ == "circusman":
    main(probe)
