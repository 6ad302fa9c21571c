"""Expressions in `${{ … }}`: Jinja2's grammar over JSON values, bounded, and with nothing of Python in reach.

```python
compile_expression("steps.total.output.rows > 0")({"steps": {"total": {"output": {"rows": 3}}}})  # True
compile_template({"day": "${{ variables.day }}"})({"variables": {"day": "2024-05-31"}})  # {"day": "2024-05-31"}
```
"""

from stepwell.expressions.equalities import equalities
from stepwell.expressions.expression import Expression, compile_expression
from stepwell.expressions.references import Reference
from stepwell.expressions.syntax import split
from stepwell.expressions.template import Template, compile_template

__all__ = ["Expression", "Reference", "Template", "compile_expression", "compile_template", "equalities", "split"]
