import Charts
import Mustache

/// The Mustache template of the HTML report.
///
/// `{{…}}` escapes; `{{{…}}}` is for charts and data that this module has written itself.
enum PageTemplate {
  /// Escapes by Unicode scalars, as ``Swift/String/xmlEscaped`` does.
  ///
  /// Mustache's own escaping compares grapheme clusters, and misses `<` after a prepended mark such as U+0600.
  struct EscapedText: MustacheContentType {
    func escapeText(_ text: String) -> String { text.xmlEscaped }
  }

  /// The name of ``EscapedText`` in the template.
  static let contentType = "ESCAPED"

  /// The text of the template.
  static let mustache = ##"""
    {{% CONTENT_TYPE: ESCAPED}}<!DOCTYPE html>
    <html lang="en">
    <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; base-uri 'none'; form-action 'none'">
    <meta name="generator" content="wrn-dist">
    <title>{{title}}</title>
    <link rel="icon" href="data:,">
    <style>
    {{{style}}}
    </style>
    </head>
    <body>
    <header>
    <h1>{{title}}</h1>
    <p class="soft">{{subtitle}}</p>
    <nav aria-label="Sections"><a href="#results">Results</a><a href="#curves">Curves</a>{{#has_post}}<a href="#post">The post</a>{{/has_post}}{{#has_settings}}<a href="#settings">Settings</a>{{/has_settings}}<a href="#runs">Runs in detail</a></nav>
    </header>
    <main>
    {{#has_notes}}
    <div class="notes" role="note"><p><b>Some runs are not complete.</b> The report shows them as far as they go.</p><ul>
    {{#notes}}<li><b>{{name}}</b>: {{text}}</li>
    {{/notes}}</ul></div>
    {{/has_notes}}
    <h2 id="results">Results</h2>
    {{#has_cards}}
    <div class="cards">
    {{#cards}}<div class="card"><div class="name">{{{swatch}}}{{name}}</div><div class="big">{{accuracy}}</div><div class="soft">{{what}}</div><div>{{network}}, {{steps}}</div><div class="soft">{{time}}</div></div>
    {{/cards}}
    </div>
    {{/has_cards}}
    <div class="scroll"><table>
    <thead><tr>{{#summary_columns}}<th>{{.}}</th>{{/summary_columns}}</tr></thead>
    <tbody>
    {{#summary_rows}}<tr><td>{{{swatch}}}{{name}}</td>{{#cells}}<td>{{.}}</td>{{/cells}}</tr>
    {{/summary_rows}}</tbody></table></div>
    <p class="note">Training loss: mean over the steps since the last evaluation but one. Accuracy: last evaluation. Best accuracy: the highest of the same kind, which is optimistic. Training time excludes evaluations and checkpoints.</p>

    <h2 id="curves">Curves</h2>
    <div class="toolbar">
    <fieldset data-needs-script hidden><label><input type="radio" name="mode" value="step" checked>Steps</label><label><input type="radio" name="mode" value="epoch">Epochs</label><label><input type="radio" name="mode" value="time">Time</label></fieldset>
    {{#has_many}}<span data-needs-script hidden><button data-all="1">Show all</button> <button data-all="">Hide all</button></span>{{/has_many}}
    <div class="legend">{{#legend}}<label><input type="checkbox" data-run="{{index}}" data-needs-script hidden checked> {{{swatch}}}{{name}}</label>{{/legend}}</div>
    </div>
    <p class="note" data-needs-script hidden>Point at a chart for values. Drag across it to zoom; a double click shows everything again. The arrow keys move the pointer of the selected chart. Pale lines are single steps, thinned without losing extremes; strong ones are means over neighbouring steps.</p>
    <div class="charts">
    {{#charts}}
    <figure class="plot" data-chart="{{key}}" data-shared><figcaption><b>{{title}}</b> {{caption}} <button hidden>Show everything</button></figcaption>{{{svg}}}</figure>
    {{/charts}}
    </div>

    {{#has_post}}
    <h2 id="post">Beside the original post</h2>
    <p>{{post_source}}</p>
    {{#post}}
    <h3>{{{swatch}}}{{name}}, widen factor {{factor}}</h3>
    <div class="scroll"><table>
    <thead><tr><th>Step</th><th>Training loss</th><th>post</th><th>Evaluation loss</th><th>post</th><th>Accuracy</th><th>post</th><th>Seconds</th><th>post</th></tr></thead>
    <tbody>
    {{#rows}}<tr><td>{{step}}</td><td>{{training_loss}}</td><td class="post">{{post_training_loss}}</td><td>{{loss}}</td><td class="post">{{post_loss}}</td><td>{{accuracy}}</td><td class="post">{{post_accuracy}}</td><td>{{seconds}}</td><td class="post">{{post_seconds}}</td></tr>
    {{/rows}}</tbody></table></div>
    {{/post}}
    {{/has_post}}

    {{#has_settings}}
    <h2 id="settings">Settings that differ</h2>
    <div class="scroll"><table class="left">
    <thead><tr>{{#settings_columns}}<th>{{.}}</th>{{/settings_columns}}</tr></thead>
    <tbody>
    {{#settings_rows}}<tr><td>{{{swatch}}}{{name}}</td>{{#cells}}<td>{{.}}</td>{{/cells}}</tr>
    {{/settings_rows}}</tbody></table></div>
    {{/has_settings}}

    <h2 id="runs">Runs in detail</h2>
    {{#runs}}
    <details class="run"{{#open}} open{{/open}}><summary>{{{swatch}}}{{name}}</summary>
    {{#run_notes}}<p class="note">{{.}}</p>{{/run_notes}}
    {{#classification}}
    <h3>Predictions</h3>
    <p class="note">{{what}}</p>
    <div class="split">
    {{#matrix}}
    <div><h3>Confusion matrix</h3><p class="note">Rows are the labels, columns the predictions; a darker cell is a larger share of its row.</p><div class="scroll"><table class="confusion"><thead><tr><th></th>{{#names}}<th>{{.}}</th>{{/names}}</tr></thead><tbody>
    {{{body}}}</tbody></table></div></div>
    {{/matrix}}
    {{#heat}}
    <div><h3>Confusion matrix</h3><p class="note">One pixel per pair of classes, in the order of the labels: rows are the labels, columns the predictions.</p><img class="exact matrix" alt="Confusion matrix of {{count}} classes" src="{{{source}}}"><h3>Most frequent confusions</h3><table class="left"><thead><tr><th>Label</th><th>Prediction</th><th>Images</th></tr></thead><tbody>{{#pairs}}<tr><td>{{label}}</td><td>{{prediction}}</td><td>{{images}}</td></tr>{{/pairs}}</tbody></table></div>
    {{/heat}}
    <div><h3>{{class_title}}</h3><table class="bars left"><tbody>
    {{#classes}}<tr><td>{{class}}</td><td class="bar"><i style="--w:{{share}}"></i></td><td>{{percent}}</td></tr>
    {{/classes}}</tbody></table></div>
    </div>
    {{#has_wrong}}
    <h3>Most confident mistakes</h3>
    <p class="note">Label → prediction, with the probability of the prediction.</p>
    <div class="images">
    {{#wrong}}<figure><img class="exact" width="80" height="80" alt="Test image {{index}}" src="{{{source}}}"><figcaption>{{label}} → <b>{{prediction}}</b><br>{{confidence}}</figcaption></figure>
    {{/wrong}}
    </div>
    {{/has_wrong}}
    {{/classification}}
    {{#no_pictures}}<p class="note">{{.}}</p>{{/no_pictures}}
    <div class="columns">
    {{#parts}}
    <div><h3>Time per step</h3>
    <p class="note">Rank 0, mean over neighbouring steps. <span class="legend">{{#legend}}<span>{{{swatch}}}{{name}}</span> {{/legend}}</span></p>
    <figure class="plot" data-chart="{{key}}"><figcaption><button hidden>Show everything</button></figcaption>{{{svg}}}</figure></div>
    {{/parts}}
    {{#kernels}}
    <div><h3>Kernels of the first layer</h3>
    <p class="note">{{caption}}</p>
    <img class="exact kernels" alt="Kernels of the first layer" src="{{{source}}}"></div>
    {{/kernels}}
    </div>
    {{#has_sessions}}
    <h3>Hosts</h3>
    <div class="scroll"><table class="left"><thead><tr><th>Started (UTC)</th><th>From step</th><th>Program</th><th>Engine</th><th>Host</th><th>CPU</th><th>Ranks</th><th>Threads per rank</th></tr></thead><tbody>
    {{#sessions}}<tr><td>{{started}}</td><td>{{first_step}}</td><td>{{version}}</td><td>{{engine}}</td><td>{{host}}</td><td>{{cpu}}</td><td>{{ranks}}</td><td>{{threads}}</td></tr>
    {{/sessions}}</tbody></table></div>
    {{/has_sessions}}
    <h3>To repeat this run</h3>
    {{#command}}<pre>{{.}}</pre>{{/command}}
    <dl>
    {{#facts}}<dt>{{term}}</dt><dd>{{value}}</dd>
    {{/facts}}</dl>
    {{#has_all_settings}}
    <details><summary>All settings</summary><div class="scroll"><table class="left"><tbody>
    {{#all_settings}}<tr><td>{{name}}</td><td>{{value}}</td></tr>
    {{/all_settings}}</tbody></table></div></details>
    {{/has_all_settings}}
    </details>
    {{/runs}}
    <footer>Made by wrn-dist {{version}}, {{date}}. The page is complete in itself and loads nothing.</footer>
    </main>
    <script type="application/json" id="data">{{{data}}}</script>
    <script>
    {{{script}}}
    </script>
    </body>
    </html>

    """##
}
