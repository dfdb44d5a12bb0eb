"""Forms made from the click commands themselves, so that page and command line cannot drift apart.

=============  ======================================================================================
`form_of`      the fields of a command: names, kinds, ranges, defaults and help are those of click
`arguments`    what was filled in -> the words of a command line, checked by click without running it
`offered`      which commands a browser may start, and which of their options make no sense there
=============  ======================================================================================
"""

from earmark.web.forms.arguments import arguments, command_line, kind_of
from earmark.web.forms.form import Field, Form, FormError
from earmark.web.forms.making import form_of
from earmark.web.forms.offered import OFFERED, commands_of, installed_tasks

__all__ = [
    "OFFERED",
    "Field",
    "Form",
    "FormError",
    "arguments",
    "command_line",
    "commands_of",
    "form_of",
    "installed_tasks",
    "kind_of",
]
