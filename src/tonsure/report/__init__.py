"""Reports of recorded runs: results, statistics, tables, figures, the HTML page."""
