import Tensors

// What follows a convolution, in one linear pass over the rows it has just written.

/// Writes some rows of y = product + bias (+ addend), and adds Σy and Σy² per channel if asked.
///
/// - Parameters:
///   - output: y, what is added to it, and where the sums go.
///   - bias: K numbers, or nil.
///   - product: The rows as the convolution left them.
///   - offset: Where the first row starts in the tensors.
///   - rows: The number of rows.
///   - width: Q.
///   - channels: K.
func finishOutput(
  _ output: ConvolutionOutput, bias: UnsafePointer<Float>?, product: UnsafePointer<Float>, offset: Int, rows: Int,
  width: Int, channels: Int
) {
  guard ChannelSlice.covers(channels: channels, imageWidth: width) else {
    finishOutputSlowly(
      output, bias: bias, product: product, offset: offset, count: rows * width * channels, channels: channels)
    return
  }
  let rowCount = width * channels
  let (y, addend) = (output.activation + offset, output.addend.map { $0 + offset })
  forEachSlice(channels: channels, imageWidth: width) { slice in
    let none = InlineArray<4, Vector>(repeating: Vector())
    let shift = bias.map { slice.coefficients($0) } ?? none
    let (offsets, step, groups) = (slice.offsets, slice.step, slice.groupsPerRow)
    var (sums, squares) = (none, none)
    for row in 0..<rows {
      var i = row &* rowCount
      for _ in 0..<groups {
        for j in 0..<4 {
          let at = i &+ offsets[j]
          var value = (product + at).vector + shift[j]
          if let addend { value += (addend + at).vector }
          (y + at).store(value)
          sums[j] += value
          squares[j] = squares[j].addingProduct(value, value)
        }
        i &+= step
      }
      if let totals = output.sums, (row + 1).isMultiple(of: slice.rowsPerSum) || row == rows - 1 {
        slice.add(sums, to: totals)
        slice.add(squares, to: totals + channels)
        (sums, squares) = (none, none)
      }
    }
  }
}

private func finishOutputSlowly(
  _ output: ConvolutionOutput, bias: UnsafePointer<Float>?, product: UnsafePointer<Float>, offset: Int, count: Int,
  channels: Int
) {
  for i in 0..<count {
    let k = i % channels
    let value = product[i] + (bias?[k] ?? 0) + (output.addend?[offset + i] ?? 0)
    output.activation[offset + i] = value
    output.sums?[k] += Double(value)
    output.sums?[channels + k] += Double(value) * Double(value)
  }
}

/// Writes some rows of the input's gradient: dX as it is, or g' = scale·x + shift > 0 ? dZ : 0 together with Σg' and
/// Σg'·(x − mean).
///
/// The mean is subtracted inside the sum, so nothing cancels.
///
/// - Parameters:
///   - target: Where the gradient and the sums go.
///   - input: x and how z came from it.
///   - product: The rows as the convolution left them, dZ.
///   - offset: Where the first row starts in the tensors.
///   - rows: The number of rows.
///   - width: W.
///   - channels: C.
func finishInputGradient(
  _ target: ConvolutionInputGradient, input: ConvolutionInput, product: UnsafePointer<Float>,
  offset: Int, rows: Int, width: Int, channels: Int
) {
  let (g, x) = (target.gradient + offset, input.activation + offset)
  let rowCount = width * channels
  guard let map = input.normalization, let mean = target.mean, let totals = target.sums else {
    g.update(from: product, count: rows * rowCount)
    return
  }
  guard ChannelSlice.covers(channels: channels, imageWidth: width) else {
    for i in 0..<rows * rowCount {
      let c = i % channels
      let masked = map.shift[c].addingProduct(map.scale[c], x[i]) > 0 ? product[i] : 0
      g[i] = masked
      totals[c] += Double(masked)
      totals[channels + c] += Double(masked) * (Double(x[i]) - Double(mean[c]))
    }
    return
  }
  forEachSlice(channels: channels, imageWidth: width) { slice in
    let (scale, shift) = (slice.coefficients(map.scale), slice.coefficients(map.shift))
    let means = slice.coefficients(mean)
    let (offsets, step, groups) = (slice.offsets, slice.step, slice.groupsPerRow)
    let none = InlineArray<4, Vector>(repeating: Vector())
    var (sums, products) = (none, none)
    for row in 0..<rows {
      var i = row &* rowCount
      for _ in 0..<groups {
        for j in 0..<4 {
          let at = i &+ offsets[j]
          let value = (x + at).vector
          let masked = passed((product + at).vector, where: shift[j].addingProduct(scale[j], value))
          (g + at).store(masked)
          sums[j] += masked
          products[j] = products[j].addingProduct(masked, value - means[j])
        }
        i &+= step
      }
      if (row + 1).isMultiple(of: slice.rowsPerSum) || row == rows - 1 {
        slice.add(sums, to: totals)
        slice.add(products, to: totals + channels)
        (sums, products) = (none, none)
      }
    }
  }
}

/// The lanes of a gradient whose rectifier let something through, zero elsewhere.
@inline(__always)
func passed(_ gradient: Vector, where argument: Vector) -> Vector {
  gradient.replacing(with: 0, where: argument .<= 0)
}
