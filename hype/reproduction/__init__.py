"""The paper's tables and figures: experiments as data, their runs, their execution, statistics and reports."""
