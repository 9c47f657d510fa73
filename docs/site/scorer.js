// How the search orders what it finds: as Sphinx does, but for pages that mention everything, which come last.
const MENTION_EVERYTHING = ["CHANGELOG", "docs/mutations"];
var Scorer = {
  score: ([page, , , , score]) => (MENTION_EVERYTHING.includes(page) ? score - 10 : score),
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: { 0: 15, 1: 5, 2: -5 },
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};
