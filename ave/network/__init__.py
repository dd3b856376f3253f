"""Remote procedure calls between AVE's processes, which carry the GUID of the run they are made for.

`Control` serves, `RemoteControl` calls. See doc/reference/rpc for the protocol.
"""

from ave.context import current_guid
from ave.network.address import find_free_port
from ave.network.control import Control
from ave.network.remote import RemoteControl, disconnect

__all__ = ["Control", "RemoteControl", "current_guid", "disconnect", "find_free_port"]
