"""Load on a server: closed loop, open loop, and the highest rate that it keeps up with."""
