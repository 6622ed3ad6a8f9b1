// What Datasette's pages do not say to those who hear them: their language, where their content is, names of controls.

const NAMES = {
  _filter_column: "Column to filter by",
  _filter_op: "How to compare",
  _filter_value: "Value to compare with",
  _sort: "Column to sort by",
};

document.documentElement.lang = "en";

function nameAll() {
  if (!document.querySelector("main")) document.querySelector("section.content")?.setAttribute("role", "main");
  for (const control of document.querySelectorAll("select, textarea, input:not([type=hidden], [type=submit])")) {
    if (control.labels.length || control.hasAttribute("aria-label")) continue;
    const name = control.closest(".CodeMirror") || control.id === "sql-editor" ? "SQL" : NAMES[control.name.replace(/_\d+$/, "")];
    if (name) control.setAttribute("aria-label", name);
  }
}

addEventListener("load", () => setTimeout(nameAll, 0)); // the editor of SQL is made as the page is loaded, too
