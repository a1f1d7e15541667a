"""From the files of the runs to tables, findings, figures and documents."""
