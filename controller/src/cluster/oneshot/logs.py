# Reads logs on a stock node as a circusd-rs would: the last lines, or from a place on, across files
# that were rotated away. PAYLOAD: {"tasks": [{"name", "source", "path", "lines"} or
# {"name", "source", "path", "offset", "generation"}], "room": BYTES}; the answer is packed with zlib.

import time, zlib

MOST = 256 * 1024
MAX_FILES = 100


def generation(file, status):
    """Inode, a checksum of the first bytes (which never change), and when it was written to last."""
    file.seek(0)
    start = file.read(64)
    return "%d.%d.%08x.%d" % (status.st_ino, len(start), zlib.crc32(start) & 0xffffffff, status.st_mtime_ns)


def is_it(file, status, wanted):
    try:
        inode, length, checksum, _ = wanted.split(".")
        file.seek(0)
        start = file.read(int(length))
    except ValueError:
        return False
    return inode == str(status.st_ino) and checksum == "%08x" % (zlib.crc32(start) & 0xffffffff)


def is_later(status, wanted):
    """Written to after the wanted one, so none of the older ones."""
    parts = wanted.split(".")
    return wanted == "oldest" or len(parts) == 4 and status.st_mtime_ns > int(parts[3])


def opened(path):
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        os.close(fd)
        raise Refused("not a regular file")
    return os.fdopen(fd, "rb"), status


def rotated(path):
    """What a file was rotated to, the newest first."""
    folder, prefix = os.path.dirname(path) or ".", os.path.basename(path) + "."
    found = []
    for name in os.listdir(folder):
        ending = name[len(prefix):]
        if not name.startswith(prefix) or not ending.isdigit():
            continue
        whole = os.path.join(folder, name)
        try:
            status = os.stat(whole, follow_symlinks=False)
        except OSError:
            continue
        if stat.S_ISREG(status.st_mode):
            order = -int(ending) if len(ending) < 8 else int(ending)
            found.append((status.st_mtime_ns, order, whole))
    found.sort(reverse=True)
    return [whole for _, _, whole in found[:MAX_FILES]]


def last(task):
    data, wanted = b"", task["lines"]
    file, status = opened(task["path"])
    with file:
        size = status.st_size
        named = generation(file, status)
        file.seek(max(0, size - MOST))
        data = file.read(MOST)
    whole = size <= MOST
    for older in rotated(task["path"]):
        if not whole or len(data) >= MOST or data.count(b"\n") > wanted:
            break
        file, more = opened(older)
        with file:
            room = MOST - len(data)
            file.seek(max(0, more.st_size - room))
            data = file.read(room) + data
            whole = more.st_size <= room
    lines = data.splitlines(True)[-wanted:]
    kept = b"".join(lines)
    return {"offset": max(0, size - len(kept)), "next_offset": size, "eof": True,
            "generation": named}, kept


def piece(task, most):
    offset, wanted = task["offset"], task.get("generation")
    file, status = opened(task["path"])
    newer = None
    if wanted is not None and not is_it(file, status, wanted):
        after, found = generation(file, status), None
        for older in rotated(task["path"]):
            other, about = opened(older)
            itself = is_it(other, about, wanted)
            if itself or is_later(about, wanted):
                if found:
                    found[0].close()
                found = (other, about, after, itself)
            if itself:
                break
            after = generation(other, about)
            if not found or found[0] is not other:
                other.close()
        if not (found and found[3]):
            offset = 0
        if found:
            file.close()
            file, status, newer = found[0], found[1], found[2]
    with file:
        size = status.st_size
        if offset > size:
            offset = 0
        named = generation(file, status)
        file.seek(offset)
        data = file.read(most)
    end = offset + len(data)
    if newer is not None and end >= size:
        place = {"next_offset": 0, "eof": False, "generation": newer}
    else:
        place = {"next_offset": end, "eof": end >= size, "generation": named}
    place["offset"] = offset
    return place, data


def read_one(task, room):
    """As much as packs into so many bytes."""
    most = MOST
    while True:
        if "lines" in task:
            place, data = last(task)
        else:
            place, data = piece(task, most)
        packed = base64.b64encode(zlib.compress(data, 6)).decode("ascii")
        if len(packed) <= room:
            place["z"] = packed
            return place
        if "lines" in task:
            if task["lines"] <= 1:
                place["z"] = base64.b64encode(zlib.compress(data[-1024:], 6)).decode("ascii")
                return place
            task["lines"] //= 2
        elif most <= 256:
            raise Refused("no room")
        else:
            most //= 2


def work(payload):
    # What is told is packed into base64 once more, and has names around it.
    room = LIMIT * 3 // 4 - 512
    answers = []
    for index, task in enumerate(payload["tasks"]):
        answer = {"name": task["name"], "source": task["source"], "path": task["path"]}
        share = room - 300
        # Everybody who asks for last lines gets an equal part of what is left.
        if "lines" in task:
            share = room // (len(payload["tasks"]) - index) - 300
        if share < 1024:
            break
        try:
            answer.update(read_one(task, share))
        except Refused as refused:
            answer.update({"error": str(refused), "refused": True})
        except (OSError, IOError) as error:
            answer.update({"error": "%s: %s" % (task["path"], reason(error)), "refused": False})
        room -= len(json.dumps(answer)) + 2
        answers.append(answer)
    now = time.time()
    local = time.localtime(now)
    zone = -(time.altzone if local.tm_isdst > 0 else time.timezone)
    return {"logs": answers, "time": now, "zone": zone}


if __name__ == "circusman":
    main(work)
