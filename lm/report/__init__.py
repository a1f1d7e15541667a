"""From summaries and findings to documents: tables, figures and the writers that set them. Nothing is concluded here."""
