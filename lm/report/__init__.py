"""From summaries and findings to documents: tables, figures, writers. Nothing is concluded here."""
