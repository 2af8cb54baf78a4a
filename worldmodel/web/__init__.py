"""The local app: a server of run folders, data and its own pages on this machine, and the pages (`static/`).

Owns: what people see and press. Must not: compute what another room owns; reach another machine.
"""
