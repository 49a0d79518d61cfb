// The table of app/compare_grid.py. Every text becomes a text node: no answer is ever markup.

function element(tag, className, text) {
  const made = document.createElement(tag)
  if (className) made.className = className
  if (text !== undefined) made.textContent = text
  return made
}

function head(data) {
  const row = element("tr")
  for (const name of ["Row", "Input", ...(data.expected ? ["Expected"] : [])]) {
    const cell = element("th", "", name)
    cell.scope = "col"
    row.append(cell)
  }
  for (const variant of data.variants) {
    const cell = element("th", "", `${variant.letter} · ${variant.name}`)
    cell.scope = "col"
    if (variant.baseline) cell.append(element("small", "", "baseline"))
    row.append(cell)
  }
  const made = element("thead")
  made.append(row)
  return made
}

function answer(cell, roomy) {
  const made = element("td")
  const marks = element("div", "marks")
  for (const [sign, word, tone] of cell.marks) {
    marks.append(element("span", tone, `${sign} ${word}`))
  }
  if (cell.time && roomy) marks.append(element("span", "time", cell.time))
  made.append(marks, element("div", cell.quiet ? "text quiet" : "text", cell.text))
  made.title = [cell.time, cell.why].filter(Boolean).join("\n")
  return made
}

function line(data, row, open) {
  const made = element("tr")
  const number = element("td")
  const button = element("button", "", row.number)
  button.type = "button"
  button.setAttribute("aria-label", `Open row ${row.number}`)
  number.append(button)
  const input = element("td")
  input.append(element("div", "text", row.input))
  made.append(number, input)
  if (data.expected) {
    const expected = element("td")
    expected.append(element("div", "text", row.expected))
    made.append(expected)
  }
  for (const cell of row.cells) made.append(answer(cell, row.cells.length <= 3))
  made.onclick = () => {
    // a person who marks text to copy it does not mean to open the row
    if (String(document.getSelection()) === "") open(row.id)
  }
  return made
}

export default function (component) {
  const { data, parentElement, setTriggerValue } = component
  const place = parentElement.querySelector(".grid")
  if (!place || !data) return
  const table = element("table")
  table.setAttribute("aria-label", "Answers of every variant, row by row")
  const columns = element("colgroup")
  columns.append(element("col", "number"), element("col", "input"))
  if (data.expected) columns.append(element("col", "expected"))
  for (const _ of data.variants) columns.append(element("col"))
  const body = element("tbody")
  for (const row of data.rows) {
    body.append(line(data, row, (id) => setTriggerValue("open", id)))
  }
  table.append(columns, head(data), body)
  place.replaceChildren(table)
}
