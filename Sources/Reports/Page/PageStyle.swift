import Charts

/// The style sheet of the HTML report.
enum PageStyle {
  /// Layout, tables and images; colors are the charts' CSS variables.
  static let css =
    ChartTheme.variables + "\n" + ChartTheme.pageRules + "\n" + """
      *{box-sizing:border-box}
      html{-webkit-text-size-adjust:100%}
      body{margin:0;background:var(--page);color:var(--ink);font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
      main,header{max-width:1240px;margin:0 auto;padding:0 20px}
      header{padding-top:28px}
      h1{font-size:1.9rem;line-height:1.2;margin:0 0 4px}
      h2{font-size:1.3rem;margin:44px 0 6px;padding-top:14px;border-top:1px solid var(--rule)}
      h3{font-size:1.02rem;margin:24px 0 8px}
      p{max-width:72ch;margin:6px 0 12px}
      .soft,figcaption,.note{color:var(--soft)}
      nav{display:flex;flex-wrap:wrap;gap:4px 18px;margin:12px 0 0}
      a{color:var(--c0)}
      .notes{border-left:4px solid var(--c4);padding:6px 14px;margin:18px 0;max-width:90ch}
      .notes p{margin:2px 0}.notes ul{margin:4px 0;padding-left:20px;max-height:15em;overflow:auto}
      .cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(210px,1fr));gap:12px;margin:20px 0}
      .card{border:1px solid var(--rule);border-radius:8px;padding:12px 14px;min-width:0}
      .card .name{overflow-wrap:anywhere;font-weight:600}
      .card .big{font-size:1.9rem;font-weight:650;line-height:1.3;font-variant-numeric:tabular-nums}
      .scroll{overflow-x:auto;margin:8px 0 14px}
      table{border-collapse:collapse;font-size:.88rem;font-variant-numeric:tabular-nums}
      th,td{padding:5px 8px;text-align:right;border-bottom:1px solid var(--rule);white-space:nowrap}
      th{font-weight:600;color:var(--soft);vertical-align:bottom;white-space:normal}
      th:first-child,td:first-child,.left th,.left td{text-align:left}
      td.post{color:var(--soft)}
      .toolbar{display:flex;flex-wrap:wrap;gap:8px 16px;align-items:center;margin:10px 0;padding:8px 0;position:sticky;top:0;background:var(--page);z-index:2}
      .toolbar fieldset{border:1px solid var(--rule);border-radius:7px;margin:0;padding:2px;display:inline-flex}
      .toolbar fieldset label{padding:3px 12px;border-radius:5px;cursor:pointer}
      .toolbar input[type=radio]{position:absolute;opacity:0}
      .toolbar fieldset label:has(:checked){background:var(--rule);font-weight:600}
      .toolbar fieldset label:has(:focus-visible){outline:2px solid var(--c0)}
      button{font:inherit;color:inherit;background:none;border:1px solid var(--rule);border-radius:7px;padding:3px 12px;cursor:pointer}
      button[hidden]{display:none}
      .legend{display:flex;flex-wrap:wrap;gap:2px 18px;max-height:8.5em;overflow:auto;font-size:.92rem}
      .legend label{cursor:pointer;max-width:100%;overflow-wrap:anywhere}
      .charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,480px),1fr));gap:22px 34px}
      figure{margin:0;position:relative;min-width:0}
      figure.plot{touch-action:pan-y;-webkit-user-select:none;user-select:none}
      figure.plot:focus-visible{outline:2px solid var(--c0);outline-offset:4px}
      figcaption{margin-bottom:2px}
      figcaption b{color:var(--ink)}
      svg.chart{display:block;width:100%;height:auto;overflow:visible}
      svg.chart.swatch{display:inline-block;width:22px;height:10px;margin-right:7px;vertical-align:middle}
      svg.chart .cursor{stroke:var(--soft);stroke-dasharray:3 3}
      svg.chart .selection{fill:var(--c0);opacity:.15}
      .tip{position:absolute;z-index:3;pointer-events:none;background:var(--page);border:1px solid var(--soft);border-radius:7px;padding:6px 9px;font-size:.85rem;line-height:1.35;max-width:100%;box-shadow:0 2px 10px #0003}
      .tip td,.tip th{border:0;padding:0 0 0 10px}.tip th:first-child,.tip td:first-child{padding-left:0;max-width:15em;overflow:hidden;text-overflow:ellipsis}
      .confusion td,.confusion th{padding:4px 6px;text-align:center;border:1px solid var(--page);min-width:2.9em}
      .confusion th{color:var(--ink);font-weight:500;font-size:.85rem}
      .confusion th:first-child{text-align:right}
      .confusion td{background:color-mix(in srgb,var(--c0) var(--h,0%),var(--page))}
      .confusion td.hi{color:var(--page)}
      .bars td{padding:2px 8px}.bars .bar{min-width:160px;width:220px}
      .bars i{display:block;height:11px;border-radius:2px;background:var(--c0);width:var(--w)}
      .images{display:grid;grid-template-columns:repeat(auto-fill,minmax(104px,1fr));gap:14px 10px;max-width:1000px}
      .images img{width:80px;height:80px;display:block}
      .images figcaption{font-size:.8rem;line-height:1.3}
      img.exact{image-rendering:pixelated}
      img.kernels{width:min(100%,462px);height:auto;display:block}
      img.matrix{width:min(100%,500px);height:auto;display:block}
      .split{display:flex;flex-wrap:wrap;gap:0 56px}
      .split>div{min-width:0;max-width:100%}
      .columns{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,440px),1fr));gap:0 40px}
      .columns>div{min-width:0}
      details.run{border-top:1px solid var(--rule);padding:6px 0}
      details.run>summary{font-size:1.15rem;font-weight:600;cursor:pointer;padding:8px 0;overflow-wrap:anywhere}
      details>summary{cursor:pointer}
      pre{background:color-mix(in srgb,var(--rule) 45%,var(--page));padding:10px 12px;border-radius:7px;overflow-x:auto;font-size:.88rem;white-space:pre-wrap;overflow-wrap:anywhere}
      code{overflow-wrap:anywhere}
      dl{display:grid;grid-template-columns:max-content minmax(0,1fr);gap:3px 16px;margin:8px 0}
      dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}
      footer{margin:50px 0 30px;color:var(--soft);font-size:.9rem}
      @media(max-width:520px){main,header{padding-left:14px;padding-right:14px}h1{font-size:1.5rem}dl{grid-template-columns:1fr}dd{margin-bottom:6px}th,td{padding:4px 8px}.legend{max-height:5.5em}}
      @media print{nav,.toolbar fieldset,.toolbar input,button,p[data-needs-script]{display:none!important}.charts,.columns{grid-template-columns:1fr 1fr}.columns>div,.images figure{break-inside:avoid}.toolbar{position:static}.legend{max-height:none}body{font-size:10.5pt}main,header{max-width:none}figure,tr,.card{break-inside:avoid}h2,h3{break-after:avoid}.scroll{overflow:visible}table{font-size:8.5pt}th,td{padding:3px 5px}.confusion td,.bars i{print-color-adjust:exact;-webkit-print-color-adjust:exact}}
      """
}
