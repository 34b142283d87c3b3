"""Subtitles are shown at 12-15, 14-18, 18-19, 25-31 and 30-33 seconds. During how many seconds is text
on the screen, and how many separate stretches are there?"""

subtitles = [(12, 15), (14, 18), (18, 19), (25, 31), (30, 33)]


def join_spans(spans):
    rising = sorted(spans)
    joined = [list(rising[0])]
    for first, last in rising[1:]:
        if first <= joined[-1][1]:
            joined[-1][1] = max(joined[-1][1], last)
        else:
            joined.append([first, last])
    return joined


shown = join_spans(subtitles)
print(sum(span[1] - span[0] for span in shown), len(shown))
