"""How configs are searched, evaluated and kept; it names no kernel, only problems, families and configs."""
