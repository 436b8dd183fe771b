"""What is measured and on what: time, memory, the machine, the least that the work could cost."""
