#!/bin/sh
# JanusGraph Server in the foreground: `janusgraph-server.sh console FILE`. Stands where the archive has its start
# script, of which it does the part that the profile relies on.
set -eu
: "${JANUSGRAPH_HOME:?}" "${LOG_DIR:?}"
[ "${1:-}" = console ] && [ -n "${2:-}" ] || { echo "usage: $0 console FILE" >&2; exit 2; }
# shellcheck disable=SC2086 # JAVA_OPTIONS is a list of words
exec "${JAVA_HOME:+$JAVA_HOME/bin/}java" -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:-UsePerfData \
    -Djanusgraph.logdir="$LOG_DIR" ${JAVA_OPTIONS:--Xms128m -Xmx256m} \
    -cp "$JANUSGRAPH_HOME/conf:$JANUSGRAPH_HOME/lib/*" \
    org.janusgraph.graphdb.server.JanusGraphServer "$2"
