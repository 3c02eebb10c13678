"use strict";
// Figures take their colours from the page's style sheet, so that light, dark and print are said in one place.
const plots = [...document.querySelectorAll("[data-figure]")];
const dark = window.matchMedia("(prefers-color-scheme: dark)");
const mouse = window.matchMedia("(pointer: fine)").matches;

function theme(small) {
  const css = getComputedStyle(document.documentElement);
  const [ink, muted, line, card] = ["--ink", "--muted", "--line", "--card"].map((name) => css.getPropertyValue(name).trim());
  const look = {
    "font.color": ink, "font.size": small ? 11 : 13, "font.family": css.getPropertyValue("--sans").trim(),
    "hoverlabel.bgcolor": card, "hoverlabel.bordercolor": muted, "hoverlabel.font.color": ink,
  };
  for (const axis of ["xaxis", "yaxis"]) {
    Object.assign(look, {
      [`${axis}.gridcolor`]: line, [`${axis}.linecolor`]: muted, [`${axis}.tickcolor`]: muted,
      [`${axis}.tickfont.color`]: muted, [`${axis}.title.font.color`]: muted, [`${axis}.title.font.size`]: small ? 11 : 13,
    });
  }
  return look;
}

function set(layout, path, value) {
  const names = path.split(".");
  const last = names.pop();
  let at = layout;
  for (const name of names) at = at[name] ??= {};
  at[last] = value;
}

const small = (plot) => plot.closest(".panels") !== null || plot.clientWidth < 480;

for (const plot of plots) {
  const { data, layout } = JSON.parse(document.getElementById(plot.dataset.figure).textContent);
  for (const [path, value] of Object.entries(theme(small(plot)))) set(layout, path, value);
  layout.dragmode = mouse ? "zoom" : false; // a finger scrolls the page
  Plotly.newPlot(plot, data, layout, { responsive: true, displayModeBar: false, showTips: false });
}

const repaint = () => plots.forEach((plot) => Plotly.relayout(plot, theme(small(plot))));
dark.addEventListener("change", repaint);
window.addEventListener("beforeprint", repaint);
window.addEventListener("afterprint", repaint);

for (const button of document.querySelectorAll("[data-copy]")) {
  button.addEventListener("click", async () => {
    const source = document.getElementById(button.dataset.copy);
    try {
      await navigator.clipboard.writeText(source.textContent);
      button.textContent = "Copied";
    } catch {
      window.getSelection().selectAllChildren(source); // no clipboard here: select, so that Ctrl-C does it
      button.textContent = "Selected";
    }
    setTimeout(() => (button.textContent = "Copy"), 2000);
  });
}
