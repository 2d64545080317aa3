"""Every query. `session_scope` owns the only commit."""
