"""Show what users see: messages, progress, tables, reports."""
