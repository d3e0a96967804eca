def faults(options): pass
