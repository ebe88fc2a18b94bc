//! The longer help of each command, in our own words.

pub(super) const ADD: &str = "\
Creates a watcher that lasts until the daemon is restarted or reads its configuration again. The words
of COMMAND are joined with blanks. Put -- in front of NAME when the command has options of its own:

    circusctl add --start -- web python -m http.server
";

pub(super) const INCR: &str = "\
Raises the wished number of processes by COUNT (1 when left out) and prints ok, or with --waiting the
new number. A singleton stays one.
";

pub(super) const DECR: &str = "\
Lowers the wished number of processes by COUNT (1 when left out) and prints ok, or with --waiting the
new number. The oldest processes leave first. A singleton stays one.
";

pub(super) const DSTATS: &str = "\
Prints pid, program, owner, niceness, resident and virtual memory, processor and memory share and
processor time of the daemon.
";

pub(super) const GET: &str = "\
Prints a line for each OPTION. `options` shows which there are.
";

pub(super) const GLOBALOPTIONS: &str = "\
Prints the endpoints and the check interval of the daemon, or one of them: check_delay, endpoint,
multicast_endpoint, pubsub_endpoint, stats_endpoint.
";

pub(super) const IPYTHON: &str = "\
Stock circusd offers this when IPython is installed beside it. circusd-rs has no Python inside.
";

pub(super) const KILL: &str = "\
Signals the processes of a watcher, or the one with PID, waits for the graceful timeout and sends
SIGKILL to what is left. The watcher goes on: it starts new processes in their place.
";

pub(super) const LIST: &str = "\
Prints the names of all watchers, or the pids of the watcher NAME, separated by commas.
";

pub(super) const LISTEN: &str = "\
Subscribes to the pubsub endpoint (--endpoint, by default tcp://127.0.0.1:5556) and prints a line for each
event whose topic begins with one of TOPIC, until Ctrl-C. Topics are watcher.NAME.ACTION, where ACTION is
spawn, reap, kill, start, stop, reload, updated, add, remove or one that a hook chose.

    circusctl listen watcher.web.
";

pub(super) const LISTSOCKETS: &str = "\
Prints descriptor, name and address of each socket that the daemon holds for its watchers.
";

pub(super) const NUMPROCESSES: &str = "\
Prints how many processes the daemon holds, or how many of them belong to the watcher NAME.
";

pub(super) const NUMWATCHERS: &str = "\
Prints how many watchers there are, those of plugins and of the stats feed included.
";

pub(super) const OPTIONS: &str = "\
Prints a line for each option of the watcher NAME. `set` changes them, `get` prints some of them.
";

pub(super) const QUIT: &str = "\
Stops all watchers gracefully and ends the daemon. With --waiting the answer comes when all processes
are gone.
";

pub(super) const RELOAD: &str = "\
Starts new processes and ends the old ones once these run; a watcher with send_hup gets SIGHUP instead.
Without NAME all watchers are reloaded, one after the other.
";

pub(super) const RELOADCONFIG: &str = "\
Reads the configuration file again and changes only what is different from before. With --waiting the
answer says whether that worked.
";

pub(super) const RESTART: &str = "\
Stops and starts the watchers that NAME matches. Without NAME everything is stopped and the daemon begins
anew from its configuration file.
";

pub(super) const RM: &str = "\
Forgets the watcher NAME and stops its processes. With --nostop they are left to themselves.
";

pub(super) const SIGNAL: &str = "\
Sends SIGNUM, a number or a name such as hup, SIGHUP or RTMIN+1, to the processes of a watcher or to the
one with PID. Nothing else happens: whether they survive it is their affair.
";

pub(super) const SET: &str = "\
Changes one option or several. Where a change needs new processes the watcher is reloaded gracefully.

    circusctl set web numprocesses 4 graceful_timeout 10
    circusctl set web env MODE=fast,LIMIT=20
";

pub(super) const START: &str = "\
Starts the watchers that NAME matches, or all that may start by themselves.
";

pub(super) const STATS: &str = "\
Prints a line for each process: pid, program, owner, niceness, resident and virtual memory, processor and
memory share and processor time; children follow indented. Limited to one watcher by NAME, to one process by PID.
";

pub(super) const STATUS: &str = "\
Prints the state of all watchers, or of the watcher NAME: active, stopped, starting or stopping.
";

pub(super) const STOP: &str = "\
Stops the watchers that NAME matches, or all of them. They stay known and can be started again.
";
