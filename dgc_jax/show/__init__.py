"""What people look at: maps, tables, plots."""
