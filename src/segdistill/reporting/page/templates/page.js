"use strict";
// The image comparison: everything the stage shows follows from the controls, in one function.
(() => {
  const get = (id) => document.getElementById(id);
  const source = get("pictures");

  // Tables that are folded away on a screen are wanted on paper.
  const folded = () => [...document.querySelectorAll("details[data-print]")].filter((each) => !each.open);
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = folded();
    opened.forEach((each) => { each.open = true; });
  });
  addEventListener("afterprint", () => {
    opened.forEach((each) => { each.open = false; });
  });
  if (!source) return;

  const data = JSON.parse(source.textContent);
  const radios = [...document.querySelectorAll("input[name=image]")];
  const photos = radios.map((radio) => radio.parentElement.querySelector("img").src);
  const label = get("show-label"), teacher = get("show-teacher"), wrong = get("show-errors"), edges = get("show-edges");

  function put(id, uri, shown) {
    const image = get(id);
    image.hidden = !shown;
    if (shown && image.src !== uri) image.src = uri;
  }

  function show() {
    const index = Number(radios.find((radio) => radio.checked).value);
    const image = data.images[index];
    const whole = label.checked || (teacher !== null && teacher.checked);
    const own = (id) => image.networks[Number(get(id).value)];
    const left = whole && !label.checked ? image.networks[Number(teacher.value)] : own("left");
    const right = whole ? left : own("right");
    const errors = wrong.checked && !label.checked;

    put("photo", photos[index], true);
    put("left-classes", label.checked ? image.label : left.classes, !errors);
    put("left-errors", left.errors, errors);
    put("right-classes", right.classes, !whole && !errors);
    put("right-errors", right.errors, !whole && errors);
    put("edges", image.edges, edges.checked);

    const stage = get("stage");
    stage.classList.toggle("whole", whole);
    stage.style.setProperty("--ratio", `${image.width} / ${image.height}`);
    stage.style.setProperty("--tall", String(image.width / image.height));
    get("divider").disabled = whole;
    get("tag-left").textContent = label.checked ? "label" : left.name;
    get("tag-right").textContent = right.name;
    get("divider").setAttribute("aria-label", `Divider: ${left.name} on the left, ${right.name} on the right`);
    const scored = (network) => `${network.name} ${network.miou} mIoU`;
    get("choice").textContent = label.checked
      ? `${image.name}: the label.`
      : `${image.name}: ${scored(left)}${whole || left === right ? "" : `, ${scored(right)}`}.`;
    get("shown-key").textContent = [
      errors ? "Red: wrong pixels." : "",
      edges.checked ? "Orange: the edge region, pixels near another class." : "",
    ].join(" ").trim();
    legend(image);
    blend();
    divide();
  }

  function legend(image) {
    const rows = data.classes.filter((each) => image.classes.includes(each.index)).map((each) => {
      const row = document.createElement("li"), swatch = document.createElement("span");
      swatch.className = "swatch";
      swatch.style.background = each.color;
      row.append(swatch, each.name);
      return row;
    });
    get("classes").replaceChildren(...rows);
  }

  function blend() {
    get("stage").style.setProperty("--blend", String(get("blend").value / 100));
  }

  function divide() {
    const at = Number(get("divider").value);
    get("stage").style.setProperty("--at", `${at}%`);
    get("divider").setAttribute("aria-valuetext", `${at} % left, ${100 - at} % right`);
  }

  // The label and the teacher cover the whole picture, so one puts the other out.
  label.addEventListener("change", () => { if (label.checked && teacher) teacher.checked = false; });
  if (teacher) teacher.addEventListener("change", () => { if (teacher.checked) label.checked = false; });
  get("divider").addEventListener("input", divide);
  get("blend").addEventListener("input", blend);
  for (const each of [...radios, ...document.querySelectorAll("#compare select, #compare [role=switch]")]) {
    each.addEventListener("change", show);
  }
  get("compare").hidden = false;
  get("without").hidden = true;
  show();
})();
