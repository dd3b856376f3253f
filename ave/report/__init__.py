"""Results of test tools become records: any format in `ave.report.registry`, recognised by its content."""

from ave.report.emit import verdicts
from ave.report.registry import FORMATS, recognise
from ave.report.tally import FINALS, Tally

__all__ = ["FINALS", "FORMATS", "Tally", "recognise", "verdicts"]
