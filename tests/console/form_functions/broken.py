raise RuntimeError("no <b>such</b> thing")
