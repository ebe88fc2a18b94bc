for p in "$(tr '\0' '\n' </proc/$PPID/cmdline | head -n 1)" "/proc/$PPID/exe" python3 python; do
  if "$p" -c 'import json' </dev/null >/dev/null 2>&1; then
    exec "$p" -c 'import os, base64
def read(name):
    parts = []
    while name + "_" + str(len(parts)) in os.environ:
        parts.append(os.environ[name + "_" + str(len(parts))])
    return base64.b64decode("".join(parts))
exec(compile(read("CIRCUSMAN_PROGRAM"), "circusman", "exec"), {"read": read, "__name__": "circusman"})'
  fi
done
exit 127
