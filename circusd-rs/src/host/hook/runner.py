# Runs circusd-rs' Python hooks: one JSON object a line comes in on descriptor 0, one goes out for
# each on descriptor 1. Every call has a thread of its own, so that a slow hook delays nobody else.
# What hooks print goes to the daemon's stderr. The process ends when its input does.
import importlib
import json
import os
import site
import sys
import threading
import traceback

LONGEST_ERROR = 4000

sys.path[:] = [path for path in sys.path if path]
requests = os.fdopen(os.dup(0), "r", encoding="utf-8")
answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
os.dup2(2, 1)
writing = threading.Lock()
importing = threading.RLock()
resolved = {}


class Arbiter:
    """What a hook can see of circusd-rs; `call` speaks to it through circus' own client."""

    def __init__(self, facts):
        self.__dict__.update(facts)

    def call(self, command, **properties):
        from circus.client import CircusClient
        client = CircusClient(endpoint=self.endpoint)
        try:
            return client.send_message(command, **properties)
        finally:
            client.stop()


class Watcher:
    """What a hook can see of its watcher: a copy of its options, environment and pids."""

    def __init__(self, facts, arbiter):
        self._options = facts.pop("options")
        self.__dict__.update(facts)
        self.arbiter = arbiter

    def __getattr__(self, name):
        try:
            return self.__dict__["_options"][name]
        except KeyError:
            raise AttributeError("circusd-rs gives its hooks no watcher.%s" % name) from None

    def options(self, *names):
        return sorted((key, value) for key, value in self._options.items() if not names or key in names)

    def get_active_pids(self):
        return list(self.pids)

    def call(self, command, **properties):
        return self.arbiter.call(command, name=self.name, **properties)


def resolve(path, again=False):
    """The object that a path names, imported when it is first asked for."""
    with importing:
        if path in resolved and not again:
            return resolved[path]
        if ":" in path:
            module, _, name = path.partition(":")
        elif "." in path:
            module, _, name = path.rpartition(".")
        else:
            module, name = path, None
        importlib.invalidate_caches()
        if again and module in sys.modules:
            found = importlib.reload(sys.modules[module])
        else:
            found = importlib.import_module(module)
        if name is not None:
            try:
                for part in name.split("."):
                    found = getattr(found, part)
            except AttributeError:
                if ":" in path:
                    raise
                found = importlib.import_module(path)
        resolved[path] = found
        return found


def look_in(directories):
    with importing:
        for directory in directories:
            if directory not in sys.path:
                site.addsitedir(directory)


def perform(request):
    look_in(request["search"])
    if request["op"] == "load":
        for path in request["paths"]:
            resolve(path, request["again"])
        return {}
    hook = resolve(request["path"])
    arbiter = Arbiter(request["arbiter"])
    watcher = Watcher(request["watcher"], arbiter)
    name, extra = request["hook"], request["extra"]
    if name == "extended_stats":
        stats = extra.pop("stats")
        hook(watcher, arbiter, name, stats=stats, **extra)
        return {"truth": True, "stats": stats}
    return {"truth": bool(hook(watcher=watcher, arbiter=arbiter, hook_name=name, **extra))}


def answer(request):
    try:
        outcome = perform(request)
        outcome["id"] = request["id"]
        line = json.dumps(outcome)
    except BaseException as error:
        told = {"id": request["id"], "error": str(error)[:LONGEST_ERROR], "kind": type(error).__name__}
        told["traceback"] = traceback.format_exc()[-LONGEST_ERROR:]
        line = json.dumps(told)
    with writing:
        answers.write(line + "\n")
        answers.flush()


for line in requests:
    threading.Thread(target=answer, args=(json.loads(line),), daemon=True).start()
os._exit(0)
