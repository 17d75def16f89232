-- What Footnote asks of every document that pandoc reads: words in their form, and nothing that is only for the eye.
-- The facts about the document (title, author, date, keywords) come first, as a code block of JSON.

local function filename(words)
  return words:match("^%S+%.%a%a%a%a?$") ~= nil or words:lower() == "image"
end

local function alt(image)
  local words = pandoc.utils.stringify(image.caption)
  if filename(words) then return {} end
  return image.caption
end

-- a cell of several blocks cannot be written in Markdown: pandoc would drop the whole table
local function one_line(blocks)
  local inlines = pandoc.utils.blocks_to_inlines(blocks, {pandoc.Space()})
  return {pandoc.Plain(inlines:walk({
    LineBreak = function() return pandoc.Space() end,
    SoftBreak = function() return pandoc.Space() end,
  }))}
end

local function flat_rows(rows)
  for _, row in ipairs(rows) do
    local cells = {}
    for _, cell in ipairs(row.cells) do
      cell.contents = one_line(cell.contents)
      cell.row_span = 1
      local span = math.min(cell.col_span, 50)
      cell.col_span = 1
      table.insert(cells, cell)
      for _ = 2, span do table.insert(cells, pandoc.Cell({})) end
    end
    row.cells = cells
  end
  return rows
end

local function table_of(element)
  element.head.rows = flat_rows(element.head.rows)
  element.foot.rows = flat_rows(element.foot.rows)
  for _, body in ipairs(element.bodies) do
    body.head = flat_rows(body.head)
    body.body = flat_rows(body.body)
  end
  for index = 1, #element.colspecs do
    element.colspecs[index] = {element.colspecs[index][1], nil}
  end
  return element
end

local function figure(element)
  local caption = element.caption.long
  local words = pandoc.utils.stringify(element.content)
  if pandoc.utils.stringify(caption) == words then return element.content end
  return element.content .. caption
end

local function link(element)
  local target = element.target
  if target:match("^https?:") or target:match("^mailto:") then
    element.attr = pandoc.Attr()
    element.title = ""
    return element
  end
  if target:match("^%a[%w+.-]*:") or target:match("^#") then return element.content end
  element.attr = pandoc.Attr()
  return element
end

local function nothing() return {} end
local function content(element) return element.content end

local function text_of(value)
  if value == nil then return "" end
  return pandoc.utils.stringify(value)
end

local function list_of(value)
  local found = {}
  if value == nil then return found end
  if pandoc.utils.type(value) == "List" then
    for _, each in ipairs(value) do table.insert(found, text_of(each)) end
  else
    table.insert(found, text_of(value))
  end
  return found
end

local function facts(document)
  local meta = document.meta
  local known = pandoc.json.encode({
    title = text_of(meta.title),
    author = table.concat(list_of(meta.author or meta.creator or meta.authors), ", "),
    date = text_of(meta.date),
    tags = list_of(meta.keywords or meta.tags or meta.subject),
  })
  document.meta = {} -- it would be written once more, as a title block
  table.insert(document.blocks, 1, pandoc.CodeBlock(known, pandoc.Attr("", {"facts"})))
  return document
end

return {
  {
    traverse = "topdown",
    Image = alt,
    Link = link,
    RawInline = nothing,
    RawBlock = nothing,
    Underline = content,
    SmallCaps = content,
    Span = content,
    Div = content,
    Figure = figure,
    CodeBlock = function(block)
      local language = block.classes[1] or ""
      return pandoc.CodeBlock(block.text, pandoc.Attr("", {language:match("^[%w+#.-]+$") or "text"}))
    end,
    Header = function(header)
      header.attr = pandoc.Attr()
      return header
    end,
  },
  { Table = table_of },
  { Pandoc = facts },
}
