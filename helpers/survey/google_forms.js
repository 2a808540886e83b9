/* Builds the study's Google Forms in your own account.
   1. Open script.google.com, choose "New project", delete what is there and paste this whole file.
   2. Press "Run" (function makeForms) and allow it to make forms.
   3. The log lists each form: the address for raters, and the one where you read the answers.
   Each form is one order of the pictures. Give every rater one form, the forms in turn. When all have answered:
   Responses, "Download responses (.csv)" for each form, and give the files to notebook 06.
   The pictures are in this file; nothing else is read from your account. */

const STUDY = __STUDY__;

function makeForms() {
  STUDY.forms.forEach((screens, number) => {
    const form = FormApp.create(STUDY.title + " (" + (number + 1) + ")");
    form.setTitle(STUDY.title).setDescription(STUDY.description).setConfirmationMessage(STUDY.thanks);
    form.setCollectEmail(false).setProgressBar(true).setShuffleQuestions(false);
    screens.forEach((screen, at) => addScreen(form, screen, at, screens.length));
    Logger.log("Raters: " + form.getPublishedUrl() + "\nYou: " + form.getEditUrl());
  });
}

function addScreen(form, screen, at, count) {
  form.addPageBreakItem().setTitle((at + 1) + " / " + count).setHelpText(screen.words);
  screen.people.forEach(name => form.addImageItem().setTitle(STUDY.reference).setImage(picture(name)).setWidth(160));
  screen.pictures.forEach((name, side) => form.addImageItem().setTitle(screen.sides[side]).setImage(picture(name)));
  screen.questions.forEach(question => {
    if (question.choices)
      form.addMultipleChoiceItem().setTitle(question.title).setChoiceValues(question.choices).setRequired(true);
    else
      form.addParagraphTextItem().setTitle(question.title).setRequired(false);
  });
}

function picture(name) {
  return Utilities.newBlob(Utilities.base64Decode(STUDY.images[name]), "image/jpeg", name + ".jpg");
}
