import { isObject, type Json, type JsonObject } from '../src/core/index.ts'

/** The chain-of-custody page as text. */
export function custodyText(report: JsonObject): string {
  const audit = isObject(report['audit']) ? report['audit'] : {}
  return [
    `Chain of custody of ${text(report['enclave'])}, made ${text(report['made'])}`,
    `Audit trail: ${text(audit['rows'])} rows, recomputed, ends in ${text(audit['hash'])}`,
    '',
    ...section('Exported', report['exported'], (one) => [
      `bundle ${text(one['sequence'])} for ${text(one['target'])} (${text(one['kind'])})  ${text(one['exported'])}`,
      `  header ${text(one['header'])}, trust version ${text(one['trust'])}, log ${text(one['logSize'])} entries`,
      `  to ${text(one['output'])}${one['written'] === true ? '' : ', NOT FINISHED'}; received by ${joined(one['receivedBy']) || 'nobody yet'}`,
      ...objects(one['images']).map(
        (image) => `  ${text(image['from'])}  ${text(image['digest'])}`,
      ),
    ]),
    ...section('Imported', report['imported'], (one) => [
      `bundle ${text(one['sequence'])} of ${text(one['source'])} (${text(one['kind'])})  ${text(one['imported'])}`,
      `  header ${text(one['header'])}, trust version ${text(one['trustVersion'])}, sender's log ${text(one['logSize'])} entries`,
      ...objects(one['images']).map(
        (image) =>
          `  ${text(image['image'])}  ${text(image['digest'])}  signed by ${text(image['by'])}`,
      ),
    ]),
    ...section('Alarms', report['alarms'], (one) => [`${text(one['time'])}  ${text(one['why'])}`]),
    ...section('Audit rows', report['rows'], (row) => [
      `${text(row['seq'])}  ${text(row['time'])}  ${text(row['caller'])}  ${text(row['action'])}  ${JSON.stringify(row['detail'] ?? {})}`,
    ]),
  ].join('\n')
}

function section(
  title: string,
  items: Json | undefined,
  lines: (item: JsonObject) => readonly string[],
): string[] {
  const all = objects(items)
  return [
    `${title}: ${all.length === 0 ? 'none' : all.length}`,
    ...all.flatMap((item) => lines(item).map((line) => `  ${line}`)),
    '',
  ]
}

const STYLE =
  'body{font:14px/1.4 system-ui,sans-serif;margin:2em;color:#111}table{border-collapse:collapse;width:100%;margin:0 0 2em}th,td{border:1px solid #999;padding:.3em .5em;text-align:left;vertical-align:top;overflow-wrap:anywhere}code{font-size:12px}.alarm{background:#fdd}@media print{body{margin:0}}'

/** The same as one HTML page that stands alone: no scripts, nothing fetched. */
export function custodyHtml(report: JsonObject): string {
  const audit = isObject(report['audit']) ? report['audit'] : {}
  const images = (one: JsonObject, name: string): string =>
    objects(one['images'])
      .map((image) => `${escape(image[name])}<br><code>${escape(image['digest'])}</code>`)
      .join('<br>')
  return [
    '<!doctype html>',
    '<html lang="en"><head><meta charset="utf-8">',
    `<title>Chain of custody of ${escape(report['enclave'])}</title><style>${STYLE}</style></head><body>`,
    `<h1>Chain of custody of ${escape(report['enclave'])}</h1>`,
    `<p>Made ${escape(report['made'])}. Audit trail: ${escape(audit['rows'])} rows, recomputed, ends in <code>${escape(audit['hash'])}</code>.</p>`,
    table(
      'Exported',
      ['No.', 'For', 'Kind', 'When', 'Header', 'Trust', 'Log', 'Images', 'Medium', 'Received by'],
      objects(report['exported']).map((one) => [
        escape(one['sequence']),
        escape(one['target']),
        escape(one['kind']),
        escape(one['exported']),
        `<code>${escape(one['header'])}</code>`,
        escape(one['trust']),
        escape(one['logSize']),
        images(one, 'from'),
        escape(one['output']),
        escape(joined(one['receivedBy'])),
      ]),
    ),
    table(
      'Imported',
      ['No.', 'From', 'Kind', 'When', 'Header', 'Trust', 'Log', 'Images'],
      objects(report['imported']).map((one) => [
        escape(one['sequence']),
        escape(one['source']),
        escape(one['kind']),
        escape(one['imported']),
        `<code>${escape(one['header'])}</code>`,
        escape(one['trustVersion']),
        escape(one['logSize']),
        images(one, 'image'),
      ]),
    ),
    table(
      'Alarms',
      ['When', 'What'],
      objects(report['alarms']).map((one) => [escape(one['time']), escape(one['why'])]),
      'alarm',
    ),
    table(
      'Audit rows',
      ['No.', 'When', 'Who', 'What', 'Detail', 'Hash'],
      objects(report['rows']).map((row) => [
        escape(row['seq']),
        escape(row['time']),
        escape(row['caller']),
        escape(row['action']),
        `<code>${escape(JSON.stringify(row['detail'] ?? {}))}</code>`,
        `<code>${escape(row['hash'])}</code>`,
      ]),
    ),
    '<table><tr><td>Handed over by</td><td>Date, signature</td><td>Received by</td><td>Date, signature</td></tr><tr><td>&nbsp;</td><td>&nbsp;</td><td>&nbsp;</td><td>&nbsp;</td></tr></table>',
    '</body></html>',
    '',
  ].join('\n')
}

function table(
  title: string,
  head: readonly string[],
  rows: readonly (readonly string[])[],
  mark = '',
): string {
  const cells = (tag: string, items: readonly string[]): string =>
    items.map((item) => `<${tag}>${item}</${tag}>`).join('')
  if (rows.length === 0) return `<h2>${title}</h2><p>None.</p>`
  return `<h2>${title}</h2><table class="${mark}"><tr>${cells('th', head)}</tr>${rows.map((row) => `<tr>${cells('td', row)}</tr>`).join('\n')}</table>`
}

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
}

/** Names and labels come from elsewhere: nothing of them is markup. */
function escape(value: Json | undefined): string {
  return text(value).replace(/[&<>"']/g, (character) => ENTITIES[character] ?? '')
}

function text(value: Json | undefined): string {
  return typeof value === 'string' || typeof value === 'number' ? String(value) : ''
}

function joined(value: Json | undefined): string {
  return Array.isArray(value) ? value.map(text).join(', ') : ''
}

function objects(value: Json | undefined): readonly JsonObject[] {
  return Array.isArray(value) ? value.filter(isObject) : []
}
