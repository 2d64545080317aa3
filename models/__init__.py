"""What we know: settings, domain, reader, tables, store, migrations. Imports neither of the other floors."""
