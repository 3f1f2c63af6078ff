// A page opened as a file may not fetch others, so the search shows titles without extracts there.
if (location.protocol === "file:" && typeof DOCUMENTATION_OPTIONS === "object") {
  DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
}

// Excerpts of the search show prose: no TeX, no code, no numbers of drawings.
addEventListener("DOMContentLoaded", () => {
  if (typeof Search !== "object" || !Search.htmlToText) return;
  const plainly = Search.htmlToText;
  Search.htmlToText = (page, anchor) => {
    const document = new DOMParser().parseFromString(page, "text/html");
    document.querySelectorAll(".math, .cell_input, details.hide, .highlight, .interactive, script, table").forEach(e => e.remove());
    return plainly(document.documentElement.outerHTML, anchor);
  };
});

// What scrolls sideways can be reached with the keyboard.
addEventListener("load", async () => {
  if (window.MathJax && MathJax.startup && MathJax.startup.promise) await MathJax.startup.promise;
  const reach = () => document.querySelectorAll(".pst-scrollable-table-container, mjx-container[display], div.math, .output_area pre, .output pre").forEach(e => {
    if (e.scrollWidth > e.clientWidth + 1) e.tabIndex = 0; else e.removeAttribute("tabindex");
  });
  reach();
  addEventListener("resize", reach);
});
