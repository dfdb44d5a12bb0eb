"""Jobs: commands that are started from a page and run as processes of their own, one after the other.

A job is ``earmark VERB TASK ...`` and nothing else, so that it leaves what the same line in a terminal leaves. Who
runs it is no part of the server: a *worker* (`earmark.web.jobs.worker`) starts the command, waits for it and writes
down how it ended, whether the server still lives or not.

Conventions: times are ISO 8601 in UTC; offsets in files are bytes.
"""
