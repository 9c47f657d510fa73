"""Derived collections: what should be, worked out from what is known, again and again, as little as possible.

A value that somebody asks for is one of three. It is **known**; or it is **absent**: it is known that there is none
(``None``); or it is **unknown**, with a reason (`Unknown`): nobody can say just now. To be unknown is not to be absent.
What follows from the absent may be deleted, what follows from the unknown stays exactly as it is.

Everything is a collection of values by key, in one `Graph`:

- An `Input` holds what is known from outside. It decides nothing. Until it is ``complete``, whatever it does not have
  is unknown, as is a key that ``unknown`` says so of: an object that cannot be decoded, a remote that was not heard.
- A `Derived` is a function of a context and a key. It reads other collections through the context alone (``get``,
  ``members``, ``keys``), and so the graph knows what each value was worked out from.
- An `Index` has the keys of a `Derived` by something that their values say: the offers by host, the exports by reason.
  `Leading` says which of them are among the first of their group; a `Tally` counts keys by what their values say.
- A `SubsetIndex` has them by sets of which theirs are part: the selectors that select some labels. A `SupersetIndex`
  has those that have all of a set: what a selector selects. `Distinct` is an input for that, of many that are alike;
  `ByGroup` has its single keys, of the groups that are asked for.

From that three things follow:

1. **A value is worked out again when something that it read is another, and only then.** Where the result is equal to
   the one before, it ends there. A function reads what was made before it, and `Graph.work` works out first what was
   made first. So no function ever sees a mixture of before and after, and once the graph ``is_fresh`` nobody does.
2. **Unknown is contagious.** A function that reads something unknown ends there, and its value is unknown for the same
   reason, unless it asks by ``known`` because it can decide without.
3. **An exception of ours is one more reason.** Where a function raises, that one value is unknown, and so what follows
   from it; everything else goes on. ``failed`` hears of it, and of its end. `Graph.again` has it tried once more.

And since what was read is on record, `Node.reads` explains a value: from an object back to whatever led to it.

After any history every value is the one that would be worked out anew: tests/derive holds this over random graphs.
"""

from meshfed.derive.collections import Collection, Context, Derived, Input
from meshfed.derive.distinct import ByGroup, Distinct
from meshfed.derive.graph import Change, Graph, Known, Node, Unknown
from meshfed.derive.index import Index
from meshfed.derive.leading import Leading
from meshfed.derive.matching import SubsetIndex, SupersetIndex
from meshfed.derive.tally import Tally

__all__ = [
    "ByGroup",
    "Change",
    "Collection",
    "Context",
    "Derived",
    "Distinct",
    "Graph",
    "Index",
    "Input",
    "Known",
    "Leading",
    "Node",
    "SubsetIndex",
    "SupersetIndex",
    "Tally",
    "Unknown",
]
