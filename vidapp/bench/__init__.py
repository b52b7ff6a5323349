"""How fast things are, each figure beside what this machine could do at best. One file a scope, run in a process of its own."""
