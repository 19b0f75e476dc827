"""One run in many processes: they are started, they meet before the first step, and they are watched until the last."""
