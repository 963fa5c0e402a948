/// The colors of charts and the style sheet that applies them, light and dark.
public enum ChartTheme {
  /// A named color of the style sheet, light and dark.
  public struct Color: Sendable {
    /// The name of the CSS variable without its dashes.
    public let name: String
    /// On a light page, as `#rrggbb`.
    public let light: String
    /// On a dark page, as `#rrggbb`.
    public let dark: String
  }

  /// The colors of lines: Okabe and Ito's palette, which color-blind readers can distinguish, without its yellow, which is
  /// too pale on white.
  ///
  /// Okabe and Ito, "Color Universal Design", 2008. The last one is the color of text. On a dark page the darker ones are
  /// brightened to a contrast of at least 4.5 : 1.
  static let lines: [Color] = [
    Color(name: "c0", light: "#0072b2", dark: "#4aa8e0"), Color(name: "c1", light: "#d55e00", dark: "#f07f2e"),
    Color(name: "c2", light: "#009e73", dark: "#19c596"), Color(name: "c3", light: "#b5548e", dark: "#e28fbc"),
    Color(name: "c4", light: "#c98900", dark: "#f0b429"), Color(name: "c5", light: "#3b9bd6", dark: "#8fd0f7"),
    Color(name: "c6", light: "#40464d", dark: "#d5dae0"),
  ]

  /// The number of colors of lines.
  public static let lineColorCount = 7

  static let surfaces: [Color] = [
    Color(name: "page", light: "#ffffff", dark: "#14171c"), Color(name: "ink", light: "#1c2126", dark: "#e6e9ed"),
    Color(name: "soft", light: "#5b646e", dark: "#a3acb6"), Color(name: "rule", light: "#e2e6ea", dark: "#2d343c"),
  ]

  /// All colors.
  public static let colors = surfaces + lines

  /// The definitions of the CSS variables for a page, which follow the reader's preference.
  ///
  /// Printed pages are light.
  public static var variables: String {
    let light = colors.map { "--\($0.name):\($0.light)" }.joined(separator: ";")
    let dark = colors.map { "--\($0.name):\($0.dark)" }.joined(separator: ";")
    return """
      :root{color-scheme:light dark;\(light)}
      @media screen and (prefers-color-scheme:dark){:root{\(dark)}}
      """
  }

  /// The rules for charts within a page that has ``variables``.
  public static var pageRules: String { rules { "var(--\($0.name))" } }

  /// The rules for a separate document; renderers without media queries show it light.
  static var documentRules: String {
    rules(\.light) + "\n@media (prefers-color-scheme:dark){\n" + rules(\.dark) + "\n}"
  }

  private static func rules(_ value: (Color) -> String) -> String {
    func color(_ name: String) -> String { colors.first { $0.name == name }.map(value) ?? "" }
    var rules = [
      ".chart text{fill:\(color("soft"));stroke:none}",
      ".chart .title{fill:\(color("ink"));font-weight:600}",
      ".chart .name{fill:\(color("ink"))}",
      ".chart .background{fill:\(color("page"))}",
      ".chart .grid{stroke:\(color("rule"));fill:none}",
      ".chart .axis{stroke:\(color("soft"));fill:none}",
      ".chart .line{fill:none;stroke-width:2;stroke-linejoin:round;stroke-linecap:round}",
      ".chart .pale{stroke-width:1;opacity:.35}",
    ]
    for (i, pattern) in LineStyle.dashPatterns.enumerated() where !pattern.isEmpty {
      rules.append(".chart .d\(i){stroke-dasharray:\(pattern)}")
    }
    for line in lines {
      rules.append(".chart .\(line.name){stroke:\(value(line))}")
      rules.append(".chart .dot.\(line.name){fill:\(value(line));stroke:none}")
    }
    return rules.joined(separator: "\n")
  }
}
