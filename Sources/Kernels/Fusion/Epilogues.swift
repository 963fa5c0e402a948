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
func applyOutputEpilogue(
  _ output: ConvolutionOutput, bias: UnsafePointer<Float>?, product: UnsafePointer<Float>, offset: Int, rows: Int,
  width: Int, channels: Int
) {
  guard ChannelBlock.covers(channels: channels, imageWidth: width) else {
    finishOutputScalar(
      output, bias: bias, product: product, offset: offset, count: rows * width * channels, channels: channels)
    return
  }
  let rowCount = width * channels
  let (y, addend) = (output.activation + offset, output.addend.map { $0 + offset })
  forEachChannelBlock(channels: channels, imageWidth: width) { slice in
    let shift = bias.map { slice.coefficients($0) } ?? VectorX4()
    let (offsets, step, groups) = (slice.offsets, slice.step, slice.groupsPerRow)
    var (sums, squares) = (VectorX4(), VectorX4())
    for row in 0..<rows {
      var i = row &* rowCount
      for _ in 0..<groups {
        var value = VectorX4(product + i, offsets) + shift
        if let addend { value = value + VectorX4(addend + i, offsets) }
        value.store(y + i, offsets)
        sums = sums + value
        squares = squares.addingProduct(value, value)
        i &+= step
      }
      if let totals = output.sums, (row + 1).isMultiple(of: slice.rowsPerFlush) || row == rows - 1 {
        slice.add(sums, to: totals)
        slice.add(squares, to: totals + channels)
        (sums, squares) = (VectorX4(), VectorX4())
      }
    }
  }
}

private func finishOutputScalar(
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

/// Where a convolution may leave rows of dZ: the gradient's own place if nothing is left to do to them.
func inPlaceTarget(
  _ target: ConvolutionInputGradient, _ input: ConvolutionInput, offset: Int,
  orElse scratch: UnsafeMutablePointer<Float>
) -> UnsafeMutablePointer<Float> {
  input.normalization == nil ? target.gradient + offset : scratch
}

/// Writes some rows of the input's gradient: dX as it is, or g' = scale·x + shift <= 0 ? 0 : dZ together with Σg' and
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
func applyInputGradientEpilogue(
  _ target: ConvolutionInputGradient, input: ConvolutionInput, product: UnsafePointer<Float>,
  offset: Int, rows: Int, width: Int, channels: Int
) {
  let (g, x) = (target.gradient + offset, input.activation + offset)
  let rowCount = width * channels
  guard let map = input.normalization, let mean = target.mean, let totals = target.sums else {
    if g != product { g.update(from: product, count: rows * rowCount) }
    return
  }
  guard ChannelBlock.covers(channels: channels, imageWidth: width) else {
    for i in 0..<rows * rowCount {
      let c = i % channels
      let masked = map.shift[c].addingProduct(map.scale[c], x[i]) <= 0 ? 0 : product[i]
      g[i] = masked
      totals[c] += Double(masked)
      totals[channels + c] += Double(masked) * (Double(x[i]) - Double(mean[c]))
    }
    return
  }
  forEachChannelBlock(channels: channels, imageWidth: width) { slice in
    let (scale, shift) = (slice.coefficients(map.scale), slice.coefficients(map.shift))
    let means = slice.coefficients(mean)
    let (offsets, step, groups) = (slice.offsets, slice.step, slice.groupsPerRow)
    var (sums, products) = (VectorX4(), VectorX4())
    for row in 0..<rows {
      var i = row &* rowCount
      for _ in 0..<groups {
        let value = VectorX4(x + i, offsets)
        let masked = VectorX4(product + i, offsets).passed(where: shift.addingProduct(scale, value))
        masked.store(g + i, offsets)
        sums = sums + masked
        products = products.addingProduct(masked, value - means)
        i &+= step
      }
      if (row + 1).isMultiple(of: slice.rowsPerFlush) || row == rows - 1 {
        slice.add(sums, to: totals)
        slice.add(products, to: totals + channels)
        (sums, products) = (VectorX4(), VectorX4())
      }
    }
  }
}
