# Shared by the one-shot programs that circusman runs on a stock node. It runs under whatever Python
# runs the node's circusd, with its standard library only.
